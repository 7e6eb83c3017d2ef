//! Bearer tokens: the server that issues them and the book that knows them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::access::{Access, Accounts, Right, basic_credentials};
use crate::intake::{Broken, Intake};
use crate::query::Query;
use crate::reply::Reply;
use crate::request::Request;
use crate::state::{Shared, lock};

/// The largest form the token server reads.
const FORM_LIMIT: usize = 64 * 1024;

/// All tokens that are valid, and how many were ever issued.
#[derive(Default)]
pub(crate) struct Tokens {
    valid: Mutex<HashMap<String, Token>>,
    issued: AtomicU64,
}

struct Token {
    rights: Vec<Right>,
    expires: Instant,
}

impl Tokens {
    fn issue(&self, token: String, rights: Vec<Right>, lifetime: Duration) {
        let mut valid = lock(&self.valid);
        let now = Instant::now();
        valid.retain(|_, token| token.expires > now);
        valid.insert(token, Token { rights, expires: now + lifetime });
        self.issued.fetch_add(1, SeqCst);
    }

    pub(crate) fn issued(&self) -> u64 {
        self.issued.load(SeqCst)
    }

    pub(crate) fn revoke(&self) {
        lock(&self.valid).clear();
    }

    /// Whether a token carries the rights; `None` if it is not valid at all.
    pub(crate) fn allow(&self, token: &str, needed: &[Right]) -> Option<bool> {
        let valid = lock(&self.valid);
        let token = valid.get(token).filter(|token| token.expires > Instant::now())?;
        let granted = |resource: &str, action: &String| {
            token.rights.iter().any(|right| right.resource == resource && right.actions.contains(action))
        };
        Some(needed.iter().all(|right| right.actions.iter().all(|action| granted(&right.resource, action))))
    }
}

/// Answers a request to the token server: `GET` with Basic credentials or none, or `POST` of a form.
pub(crate) async fn serve(shared: &Shared, request: &Request, body: &mut Intake) -> Result<Reply, Broken> {
    let Access::Bearer(accounts) = &shared.settings.access else { return Ok(Reply::status(404)) };
    if request.path != "/token" {
        return Ok(Reply::status(404));
    }
    let asked = match request.method {
        Method::GET => ask_by_query(accounts, request),
        Method::POST => {
            let form = body.whole(FORM_LIMIT).await?.unwrap_or_default();
            ask_by_form(accounts, &Query::parse(&String::from_utf8_lossy(&form)))
        }
        _ => Err(Reply::status(405)),
    };
    Ok(asked.map_or_else(|refusal| refusal, |asked| issue(shared, accounts, &asked)))
}

/// Somebody known, or nobody in particular, and what they ask for.
struct Asked {
    user: Option<String>,
    scopes: Vec<Right>,
}

fn refused() -> Reply {
    Reply::error(401, "UNAUTHORIZED", "incorrect username or password")
}

fn scopes<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Right> {
    values.flat_map(str::split_whitespace).filter_map(Right::parse).collect()
}

fn ask_by_query(accounts: &Accounts, request: &Request) -> Result<Asked, Reply> {
    let query = Query::parse(&request.query);
    let user = match basic_credentials(request) {
        Some((user, password)) if accounts.verify(&user, &password) => Some(user),
        None if accounts.admit_anonymous() && request.header("authorization").is_none() => None,
        _ => return Err(refused()),
    };
    Ok(Asked { user, scopes: scopes(query.all("scope")) })
}

fn ask_by_form(accounts: &Accounts, form: &Query) -> Result<Asked, Reply> {
    let value = |name| form.get(name).unwrap_or_default();
    let user = match value("grant_type") {
        "password" => Some(value("username")).filter(|user| accounts.verify(user, value("password"))),
        "refresh_token" => accounts.user_of_identity_token(value("refresh_token")),
        _ => return Err(Reply::error(400, "UNSUPPORTED", "unknown grant_type")),
    };
    let user = Some(user.ok_or_else(refused)?.to_owned());
    Ok(Asked { user, scopes: scopes(form.all("scope")) })
}

/// Grants what is both asked for and permitted, which may be nothing: also then there is a token.
fn issue(shared: &Shared, accounts: &Accounts, asked: &Asked) -> Reply {
    let scopes = if shared.settings.first_scope_only { 1 } else { usize::MAX };
    let rights = asked.scopes.iter().take(scopes).map(|right| {
        let repository = right.resource.strip_prefix("repository:").unwrap_or_default();
        let everything = ["pull", "push", "delete", "*"].map(str::to_owned);
        let actions = if right.actions.iter().any(|action| action == "*") { &everything[..] } else { &right.actions };
        let permitted = |action: &&String| accounts.permit_action(asked.user.as_deref(), repository, action);
        Right { resource: right.resource.clone(), actions: actions.iter().filter(permitted).cloned().collect() }
    });
    let token = shared.secret("token");
    let lifetime = shared.settings.token_lifetime;
    shared.tokens.issue(token.clone(), rights.collect(), lifetime);
    let expires_in = shared.settings.announced_lifetime.unwrap_or(lifetime).as_secs_f64().ceil() as u64;
    Reply::status(200).json(&json!({ "token": token, "access_token": token, "expires_in": expires_in }))
}
