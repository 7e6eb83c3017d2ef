//! Who may do what: accounts, their permissions, and the check of every request against them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};

use crate::reply::Reply;
use crate::request::{Kind, Request};
use crate::state::Shared;

/// The users of a registry and what each of them may do.
///
/// A user without a permission of their own may do everything; `("alice", "secret").into()` is the account of one such user.
/// Without a login nothing is permitted unless [`Accounts::anonymous`] says so.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    users: Vec<(String, String)>,
    identity_tokens: Vec<(String, String)>,
    permissions: Vec<Permission>,
}

#[derive(Clone, Debug)]
struct Permission {
    /// Nobody in particular is the anonymous user.
    user: Option<String>,
    prefix: String,
    actions: Vec<String>,
}

impl Accounts {
    /// No users.
    pub fn new() -> Self {
        Self::default()
    }

    /// A user with a password.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// An identity token that stands for a user at the token server (`grant_type=refresh_token`).
    #[must_use]
    pub fn identity_token(mut self, user: &str, token: &str) -> Self {
        self.identity_tokens.push((user.to_owned(), token.to_owned()));
        self
    }

    /// Permits a user these actions (`"pull,push,delete"`) in repositories that start with the prefix, and nothing that is not permitted.
    #[must_use]
    pub fn allow(self, user: &str, prefix: &str, actions: &str) -> Self {
        self.permit(Some(user), prefix, actions)
    }

    /// Permits everybody these actions in repositories that start with the prefix, and hands out tokens without a login.
    #[must_use]
    pub fn anonymous(self, prefix: &str, actions: &str) -> Self {
        self.permit(None, prefix, actions)
    }

    fn permit(mut self, user: Option<&str>, prefix: &str, actions: &str) -> Self {
        let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned).collect();
        self.permissions.push(Permission { user: user.map(str::to_owned), prefix: prefix.to_owned(), actions });
        self
    }

    pub(crate) fn verify(&self, name: &str, password: &str) -> bool {
        self.users.iter().any(|(user, secret)| user == name && secret == password)
    }

    pub(crate) fn user_of_identity_token(&self, token: &str) -> Option<&str> {
        self.identity_tokens.iter().find(|(_, known)| known == token).map(|(user, _)| user.as_str())
    }

    pub(crate) fn admit_anonymous(&self) -> bool {
        self.permissions.iter().any(|permission| permission.user.is_none())
    }

    pub(crate) fn permit_action(&self, user: Option<&str>, repository: &str, action: &str) -> bool {
        let own = |permission: &&Permission| permission.user.as_deref() == user;
        if user.is_some() && !self.permissions.iter().any(|permission| own(&permission)) {
            return true;
        }
        // What everybody may do, a user may do as well.
        let applies = |permission: &&Permission| permission.user.is_none() || own(permission);
        self.permissions.iter().filter(applies).any(|permission| {
            repository.starts_with(&permission.prefix)
                && permission.actions.iter().any(|permitted| permitted == action || permitted == "*")
        })
    }
}

impl From<(&str, &str)> for Accounts {
    fn from((user, password): (&str, &str)) -> Self {
        Accounts::new().user(user, password)
    }
}

/// How a registry knows who asks.
#[derive(Clone, Debug, Default)]
pub(crate) enum Access {
    #[default]
    Open,
    Basic(Accounts),
    Bearer(Accounts),
}

/// A right that a request needs: actions on a resource such as `repository:team/app`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) resource: String,
    pub(crate) actions: Vec<String>,
}

impl Right {
    fn new(resource: String, actions: &[&str]) -> Self {
        Right { resource, actions: actions.iter().map(|action| (*action).to_owned()).collect() }
    }

    /// Reads `repository:team/app:pull,push`. The name may hold colons.
    pub(crate) fn parse(scope: &str) -> Option<Self> {
        let (resource, actions) = scope.rsplit_once(':')?;
        resource.contains(':').then(|| Self::new(resource.to_owned(), &actions.split(',').collect::<Vec<_>>()))
    }

    pub(crate) fn scope(&self) -> String {
        format!("{}:{}", self.resource, self.actions.join(","))
    }
}

/// The rights that the distribution registry asks for, in its order.
fn needed(request: &Request) -> Vec<Right> {
    let actions: &[&str] = match request.kind {
        Kind::Catalog => return vec![Right::new("registry:catalog".to_owned(), &["*"])],
        _ => match request.method.as_str() {
            "GET" | "HEAD" => &["pull"],
            "DELETE" => &["delete"],
            _ => &["pull", "push"],
        },
    };
    let repository = |name: &String| format!("repository:{name}");
    let mut rights: Vec<Right> = request.repository.iter().map(|name| Right::new(repository(name), actions)).collect();
    if request.kind == Kind::Mount {
        rights.extend(request.from.iter().map(|from| Right::new(repository(from), &["pull"])));
    }
    rights
}

/// The name and password of an Authorization header.
pub(crate) fn basic_credentials(request: &Request) -> Option<(String, String)> {
    let value = request.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Lets a request pass or gives the answer that refuses it.
pub(crate) fn check(shared: &Shared, request: &Request) -> Result<(), Reply> {
    let rights = needed(request);
    match &shared.settings.access {
        Access::Open => Ok(()),
        Access::Basic(accounts) => check_basic(accounts, request, &rights),
        Access::Bearer(_) => check_bearer(shared, request, &rights),
    }
}

fn unauthorized(challenge: &str) -> Reply {
    Reply::error(401, "UNAUTHORIZED", "authentication required").header(WWW_AUTHENTICATE.as_str(), challenge)
}

fn check_basic(accounts: &Accounts, request: &Request, rights: &[Right]) -> Result<(), Reply> {
    let refuse = || unauthorized("Basic realm=\"scriptable registry\"");
    let credentials = basic_credentials(request);
    let user = match &credentials {
        Some((user, password)) if accounts.verify(user, password) => Some(user.as_str()),
        None if accounts.admit_anonymous() && !rights.is_empty() && request.header("authorization").is_none() => None,
        _ => return Err(refuse()),
    };
    let permitted = rights.iter().all(|right| {
        let repository = right.resource.strip_prefix("repository:").unwrap_or_default();
        right.actions.iter().all(|action| accounts.permit_action(user, repository, action))
    });
    match user {
        _ if permitted => Ok(()),
        None => Err(refuse()),
        Some(_) => Err(Reply::error(403, "DENIED", "requested access to the resource is denied")),
    }
}

fn check_bearer(shared: &Shared, request: &Request, rights: &[Right]) -> Result<(), Reply> {
    let sent = request.headers.get(AUTHORIZATION);
    let token = sent.and_then(|value| value.to_str().ok()?.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let error = match (sent, token.map(|token| shared.tokens.allow(token, rights))) {
        (_, Some(Some(true))) => return Ok(()),
        (_, Some(Some(false))) => Some("insufficient_scope"),
        (None, _) => None,
        _ => Some("invalid_token"),
    };
    let mut challenge = format!("Bearer realm=\"{}\",service=\"{}\"", shared.token_realm(), shared.settings.service);
    if !rights.is_empty() {
        let scopes: Vec<String> = rights.iter().map(Right::scope).collect();
        challenge.push_str(&format!(",scope=\"{}\"", scopes.join(" ")));
    }
    if let Some(error) = error {
        challenge.push_str(&format!(",error=\"{error}\""));
    }
    Err(unauthorized(&challenge))
}
