//! An answer as the registry's own code makes it, before hooks change it and before it is sent.

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::action::{Answer, Plan};
use crate::body::ResponseBody;
use crate::content::Content;
use crate::log::Flight;

/// Status, headers, and a stretch of some content as the body.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    content: Content,
    range: Range<u64>,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Reply { status, headers: HeaderMap::new(), content: Content::empty(), range: 0..0 }
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::errors(status, code, message, [Value::Null])
    }

    /// An error told once for each detail.
    pub(crate) fn errors(status: u16, code: &str, message: &str, details: impl IntoIterator<Item = Value>) -> Self {
        let errors = details.into_iter().map(|detail| json!({ "code": code, "message": message, "detail": detail }));
        Self::status(status).json(&json!({ "errors": errors.collect::<Vec<_>>() }))
    }

    pub(crate) fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json").body(value.to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        set(&mut self.headers, name, value);
        self
    }

    pub(crate) fn body(self, body: impl Into<Bytes>) -> Self {
        let content = Content::Bytes(body.into());
        let range = 0..content.len();
        self.content(content, range)
    }

    pub(crate) fn content(mut self, content: Content, range: Range<u64>) -> Self {
        self.content = content;
        self.range = range;
        self
    }

    /// Makes the changes that were planned, and the response to send.
    pub(crate) fn finish(mut self, method: &Method, plan: Plan, flight: Flight) -> Response<ResponseBody> {
        if let Some(limit) = plan.truncate {
            self.range.end = self.range.end.min(self.range.start + limit);
        }
        let length = self.range.end - self.range.start;
        let bodiless = matches!(self.status.as_u16(), 100..=199 | 204 | 304);
        if !bodiless && !self.headers.contains_key(CONTENT_LENGTH) {
            self.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        for (name, value) in plan.headers {
            match value {
                Some(value) => set(&mut self.headers, &name, &value),
                None => drop(self.headers.remove(name)),
            }
        }
        flight.entry.answered(self.status.as_u16());
        // A request without a body to send is over here, before its client can send the next one.
        let body = if bodiless || length == 0 || *method == Method::HEAD {
            ResponseBody::empty()
        } else {
            ResponseBody {
                flip: plan.corrupt.then_some(self.range.start + length / 2),
                cut_after: plan.cut_response_after,
                stall_after: plan.stall_response_after,
                throttle: plan.throttle,
                content: self.content,
                at: self.range.start,
                end: self.range.end,
                flight: Some(flight),
                ..ResponseBody::empty()
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        let mut reply = Reply::status(answer.status).body(answer.body);
        for (name, value) in answer.headers {
            let name = HeaderName::try_from(name).expect("a test's answer has valid header names");
            let value = HeaderValue::try_from(value).expect("a test's answer has valid header values");
            // Appended, so that a test can answer with two challenges.
            reply.headers.append(name, value);
        }
        if !reply.headers.contains_key(CONTENT_TYPE) && reply.range.end > 0 {
            reply = reply.header("content-type", "text/plain; charset=utf-8");
        }
        reply
    }
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::try_from(name).expect("header names are valid");
    let value = HeaderValue::try_from(value).expect("header values are valid");
    headers.insert(name, value);
}
