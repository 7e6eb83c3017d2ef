//! What can go wrong with one request, as registries and networks do it.

use scriptable_registry::{Action, Answer, Kind, Registry};

/// One way to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429, with and without a time.
    SlowDown,
    SlowDownForOneSecond,
    /// 408 or 5xx.
    Unwell(u16),
    /// The connection is closed before anything is done.
    Reset,
    /// The connection is closed after all was done.
    LostAnswer,
    /// The connection is closed within the request's body.
    CutRequest,
    /// The connection is closed within the answer's body.
    CutAnswer,
    /// An answer that is too short, and says so.
    ShortAnswer,
    WrongBytes,
    /// A token that was good is refused.
    Unauthorized,
    Denied,
    Absent,
}

pub const EVERY_FAULT: [Fault; 16] = [
    Fault::SlowDown,
    Fault::SlowDownForOneSecond,
    Fault::Unwell(408),
    Fault::Unwell(500),
    Fault::Unwell(502),
    Fault::Unwell(503),
    Fault::Unwell(504),
    Fault::Reset,
    Fault::LostAnswer,
    Fault::CutRequest,
    Fault::CutAnswer,
    Fault::ShortAnswer,
    Fault::WrongBytes,
    Fault::Unauthorized,
    Fault::Denied,
    Fault::Absent,
];

impl Fault {
    /// Whether it can befall such a request: one with a body, or whose answer has one.
    pub fn befalls(self, kind: Kind) -> bool {
        match self {
            Fault::CutRequest => matches!(kind, Kind::UploadFinish | Kind::UploadChunk | Kind::ManifestPut),
            Fault::CutAnswer | Fault::ShortAnswer | Fault::WrongBytes => {
                matches!(kind, Kind::TagList | Kind::ManifestGet | Kind::BlobGet | Kind::RedirectedGet | Kind::Token)
            }
            _ => true,
        }
    }

    /// Whether another try may have more luck, by what everybody says of such an answer.
    pub fn may_pass(self) -> bool {
        !matches!(self, Fault::Unauthorized | Fault::Denied | Fault::Absent)
    }

    /// How a hook does it in this registry.
    pub fn action(self, registry: &Registry) -> Action {
        match self {
            Fault::SlowDown => Answer::error(429, "TOOMANYREQUESTS", "slow down").into(),
            Fault::SlowDownForOneSecond => {
                Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "1").into()
            }
            Fault::Unwell(status) => Answer::status(status).into(),
            Fault::Reset => Action::Drop,
            Fault::LostAnswer => Action::LoseAnswer,
            Fault::CutRequest => Action::CutRequestAfter(20),
            Fault::CutAnswer => Action::CutResponseAfter(20),
            Fault::ShortAnswer => Action::Truncate(20),
            Fault::WrongBytes => Action::CorruptResponse,
            Fault::Unauthorized => {
                let answer = Answer::error(401, "UNAUTHORIZED", "authentication required");
                let challenge = |host| format!("Bearer realm=\"http://{host}/token\",service=\"scriptable-registry\"");
                match registry.token_host() {
                    Some(host) => answer.header("WWW-Authenticate", &challenge(host)).into(),
                    None => answer.into(),
                }
            }
            Fault::Denied => Answer::error(403, "DENIED", "requested access to the resource is denied").into(),
            Fault::Absent => Answer::error(404, "NOT_FOUND", "not found").into(),
        }
    }
}
