//! What a hook does to a request: the actions a test can choose from, and their sum.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::gate::Gate;

/// What to do with a request in place of, or on top of, serving it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Answer this; the registry does nothing. Usually written as an [`Answer`].
    Respond(Answer),
    /// Wait, then go on as normal.
    Delay(Duration),
    /// Wait until the gate is opened, then go on as normal.
    WaitFor(Gate),
    /// Do the work, and wait until the gate is opened before it is answered.
    AnswerAfter(Gate),
    /// Never answer, and keep the connection.
    Hang,
    /// Close the connection without doing or answering anything.
    Drop,
    /// Do the work, then close the connection without answering.
    LoseAnswer,
    /// Read that many bytes of the request's body, then close the connection. A shorter body is served as normal.
    CutRequestAfter(u64),
    /// Read that many bytes of the request's body and no more, and keep the connection. A shorter body is served as normal.
    StallRequestAfter(u64),
    /// Send the right headers and that many bytes of the body, then close the connection. A body that is not longer arrives whole.
    CutResponseAfter(u64),
    /// Send the right headers and that many bytes of the body and no more, and keep the connection.
    StallResponseAfter(u64),
    /// Send the body no faster than that many bytes a second.
    Throttle(u64),
    /// Invert the byte in the middle of the answer's body.
    CorruptResponse,
    /// Send only that many bytes of the body, with a Content-Length to match.
    Truncate(u64),
    /// Set a header of the answer.
    Header(String, String),
    /// Leave a header of the answer out. Without `Content-Length` the body is sent chunked.
    RemoveHeader(String),
    /// Several at once. Delays add up, of those that replace the answer the first counts, and changes to the answer are all made.
    All(Vec<Action>),
}

impl Action {
    /// This action and another one on top.
    #[must_use]
    pub fn and(self, other: impl Into<Action>) -> Self {
        match self {
            Action::All(mut actions) => {
                actions.push(other.into());
                Action::All(actions)
            }
            single => Action::All(vec![single, other.into()]),
        }
    }

    /// Sets a header of the answer.
    pub fn header(name: &str, value: &str) -> Self {
        Action::Header(name.to_owned(), value.to_owned())
    }

    /// Leaves a header of the answer out.
    pub fn remove_header(name: &str) -> Self {
        Action::RemoveHeader(name.to_owned())
    }
}

/// An answer written by the test: `Answer::status(429).header("Retry-After", "1")`.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers; Content-Length is added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Answer { status, ..Answer::default() }
    }

    /// An answer with the JSON body that registries tell errors with.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({ "errors": [{ "code": code, "message": message }] });
        Self::status(status).header("Content-Type", "application/json").body(body.to_string())
    }

    /// With one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// This answer, and an action on top: `Answer::status(200).body("…").and(Action::CutResponseAfter(1))`.
    #[must_use]
    pub fn and(self, other: impl Into<Action>) -> Action {
        Action::from(self).and(other)
    }
}

impl From<Answer> for Action {
    fn from(answer: Answer) -> Self {
        Action::Respond(answer)
    }
}

/// The sum of all actions on one request, in the order in which they take effect.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) delay: Duration,
    pub(crate) gates: Vec<Gate>,
    pub(crate) instead: Option<Instead>,
    pub(crate) cut_request_after: Option<u64>,
    pub(crate) stall_request_after: Option<u64>,
    pub(crate) lose_answer: bool,
    pub(crate) answer_gates: Vec<Gate>,
    pub(crate) truncate: Option<u64>,
    pub(crate) corrupt: bool,
    pub(crate) cut_response_after: Option<u64>,
    pub(crate) stall_response_after: Option<u64>,
    pub(crate) throttle: Option<u64>,
    pub(crate) headers: Vec<(String, Option<String>)>,
}

/// What happens in place of serving a request.
#[derive(Debug)]
pub(crate) enum Instead {
    Answer(Answer),
    Hang,
    Drop,
}

impl Plan {
    pub(crate) fn add(&mut self, action: Action) {
        match action {
            Action::Respond(answer) => self.replace(Instead::Answer(answer)),
            Action::Hang => self.replace(Instead::Hang),
            Action::Drop => self.replace(Instead::Drop),
            Action::Delay(delay) => self.delay += delay,
            Action::WaitFor(gate) => self.gates.push(gate),
            Action::AnswerAfter(gate) => self.answer_gates.push(gate),
            Action::LoseAnswer => self.lose_answer = true,
            Action::CutRequestAfter(bytes) => lower(&mut self.cut_request_after, bytes),
            Action::StallRequestAfter(bytes) => lower(&mut self.stall_request_after, bytes),
            Action::CutResponseAfter(bytes) => lower(&mut self.cut_response_after, bytes),
            Action::StallResponseAfter(bytes) => lower(&mut self.stall_response_after, bytes),
            Action::Throttle(rate) => lower(&mut self.throttle, rate.max(1)),
            Action::CorruptResponse => self.corrupt = true,
            Action::Truncate(bytes) => lower(&mut self.truncate, bytes),
            Action::Header(name, value) => self.headers.push((name, Some(value))),
            Action::RemoveHeader(name) => self.headers.push((name, None)),
            Action::All(actions) => actions.into_iter().for_each(|action| self.add(action)),
        }
    }

    fn replace(&mut self, instead: Instead) {
        self.instead.get_or_insert(instead);
    }
}

fn lower(limit: &mut Option<u64>, bytes: u64) {
    *limit = Some(limit.map_or(bytes, |before| before.min(bytes)));
}
