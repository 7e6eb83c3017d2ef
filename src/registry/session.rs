//! Who we are to one registry: credentials looked up once for all who need them, what was proven and refused of them,
//! and the tokens they gave.
//!
//! Credentials that a helper gave are looked up again when they are refused, for they may have expired: until then they
//! were good, or it has better ones now. What it gives twice is refused for good.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use reqwest::header::HeaderValue;

use super::credentials::{Account, Credential, Holds, Source};
use super::error::{Error, ErrorKind};
use super::helper::Unanswered;
use super::token::{Need, Scope, Token};
use crate::reference::Registry;
use crate::shared::{Shared, lock};

/// What to do about a helper that is not there.
const INSTALL_IT: &str = "install it where image-migrator runs, or give username and password in auth.json \
                          (\"anonymous\": true goes without)";

/// A place for one token, which is fetched once for all who wait for it.
pub(super) type Slot = Arc<Shared<Token, Error>>;

/// Places for tokens, by what they are for.
pub(super) type Slots<K> = Mutex<HashMap<K, Slot>>;

/// The place for the token that is for `key`. Before there are more than there is room for, those go whose token has ended:
/// a run may ask for one for each two of its repositories.
pub(super) fn slot<K: Eq + Hash + Clone>(slots: &Slots<K>, key: &K) -> Slot {
    let mut slots = lock(slots);
    if slots.len() == slots.capacity() && !slots.contains_key(key) {
        let lasts = |slot: &Slot| slot.peek().is_some_and(|token| token.lasts(Need::Request));
        // A task that holds the slot may be about to fill it.
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || lasts(slot));
    }
    slots.entry(key.clone()).or_default().clone()
}

/// Credentials, and where they are from.
pub(super) struct Login {
    pub source: Source,
    pub credential: Credential,
}

impl Login {
    /// Whether it makes sense to look them up again.
    fn is_renewable(&self) -> bool {
        matches!(self.source.holds, Holds::Helper(_))
    }
}

/// Credentials in use, or nobody's.
#[derive(Default)]
pub(super) struct Session {
    pub login: Option<Login>,
    /// Whether the registry has accepted them once. Until then one request asks and the others wait, so that a wrong
    /// password is shown once and not by all who need it.
    proven: Shared<(), Error>,
    /// What the registry said when it refused them. They are not shown to it again.
    refused: OnceLock<Error>,
    /// Whether the registry has ever accepted them.
    accepted: AtomicBool,
    /// The credentials before these were refused and had never worked.
    follows_rejected: bool,
    /// Whether looking them up again gave the same.
    repeated: AtomicBool,
    tokens: Slots<Scope>,
}

impl Session {
    /// The credentials that follow `before`.
    fn after(before: Option<&Self>, login: Option<Login>) -> Self {
        let follows_rejected = before.is_some_and(|before| !before.was_accepted());
        Self { login, follows_rejected, ..Self::default() }
    }

    fn credential(&self) -> Option<&Credential> {
        self.login.as_ref().map(|login| &login.credential)
    }

    /// Notes that the registry refused the credentials.
    pub fn refuse(&self, error: Error) -> Error {
        self.refused.get_or_init(|| error).clone()
    }

    pub fn check_not_refused(&self) -> Result<(), Error> {
        self.refused.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Whether others may be had in place of these.
    pub fn is_replaceable(&self) -> bool {
        let is_renewable = self.login.as_ref().is_some_and(Login::is_renewable);
        is_renewable && !self.repeated.load(Relaxed) && (self.was_accepted() || !self.follows_rejected)
    }

    fn is_good(&self) -> bool {
        self.refused.get().is_none() || !self.is_replaceable()
    }

    /// Sees to it that the registry has accepted the credentials once, or says how it refused them.
    pub async fn prove(&self, attempt: impl AsyncFnOnce() -> Result<(), Error>) -> Result<(), Error> {
        if self.proven.peek().is_some() {
            return Ok(());
        }
        // Boxed like all that is rare: every request carries the room for what it may have to do.
        Box::pin(self.proven.get(|()| true, attempt)).await
    }

    /// Notes that the registry took the credentials, or gave a token for them.
    pub fn accept(&self) {
        self.accepted.store(true, Relaxed);
    }

    /// Whether the registry has ever accepted them.
    pub fn was_accepted(&self) -> bool {
        self.accepted.load(Relaxed)
    }

    /// Has them proven once more, if they were looked up and may have expired. Answers whether that is so.
    pub fn doubt(&self) -> bool {
        let renewable = self.login.as_ref().is_some_and(Login::is_renewable);
        if renewable {
            self.proven.discard(|()| true);
        }
        renewable
    }

    /// The token of a scope, if there is one.
    pub fn token(&self, scope: &Scope) -> Option<Token> {
        lock(&self.tokens).get(scope)?.peek()
    }

    /// The place for the token of a scope.
    pub fn slot(&self, scope: &Scope) -> Slot {
        slot(&self.tokens, scope)
    }

    /// Throws away the token that was refused, unless somebody has renewed it in the meantime.
    pub fn discard(&self, used: Option<&HeaderValue>) {
        for slot in lock(&self.tokens).values() {
            slot.discard(|token| Some(&token.header) == used);
        }
    }
}

/// Somebody as whom requests are made at one registry.
#[derive(Default)]
pub(super) struct Party {
    account: Option<Arc<Account>>,
    session: Shared<Arc<Session>, Error>,
    /// Why credentials could not be had. Nobody tries again before the next round.
    unavailable: Mutex<Option<Error>>,
}

impl Party {
    fn new(account: Option<Arc<Account>>) -> Self {
        Self { account, ..Self::default() }
    }

    /// Whether it has no credentials, and no place to look for some.
    pub fn is_nobody(&self) -> bool {
        self.account.as_ref().is_none_or(|account| account.sources.is_empty())
    }

    /// The credentials to be used now. `error` tells of a request to `registry` that cannot be made.
    pub async fn session(
        &self,
        registry: &Registry,
        error: impl Fn(ErrorKind) -> Error,
    ) -> Result<Arc<Session>, Error> {
        if let Some(session) = self.session.peek().filter(|session| session.is_good()) {
            return Ok(session);
        }
        let look_up = async || {
            if let Some(error) = &*lock(&self.unavailable) {
                return Err(error.clone());
            }
            let before = self.session.peek();
            let login = match self.look_up().await {
                Ok(login) => login,
                Err((reason, remedy)) => {
                    let error = error(ErrorKind::Unavailable { reason, remedy });
                    tracing::warn!("{}", error.to_failure());
                    return Err(lock(&self.unavailable).insert(error).clone());
                }
            };
            if let Some(before) = &before
                && before.credential() == login.as_ref().map(|login| &login.credential)
            {
                before.repeated.store(true, Relaxed);
                return Ok(before.clone());
            }
            match &login {
                Some(login) => tracing::info!(%registry, "credentials from {}", login.source.name),
                None => tracing::info!(%registry, "no credentials: asked as nobody in particular"),
            }
            Ok(Arc::new(Session::after(before.as_deref(), login)))
        };
        Box::pin(self.session.get(|session| session.is_good(), look_up)).await
    }

    /// What the first source that has any credentials has; or how one failed, and what to do about it.
    async fn look_up(&self) -> Result<Option<Login>, (String, String)> {
        for source in self.account.iter().flat_map(|account| &account.sources) {
            let failed = |reason| Err((reason, source.remedy.clone()));
            let found = match &source.holds {
                Holds::Credential(credential) => Some(credential.clone()),
                Holds::Helper(helper) => match helper.get().await {
                    Ok(None) if source.is_required => {
                        return failed(format!("{} has none for {}", helper.program(), helper.server()));
                    }
                    Ok(found) => found,
                    Err(Unanswered::Failed(reason)) => return failed(reason),
                    Err(Unanswered::NotInstalled) => {
                        let reason = format!("{} is not installed, or not in PATH", helper.program());
                        return Err((reason, INSTALL_IT.to_owned()));
                    }
                },
                Holds::Nothing(reason) => return failed(reason.clone()),
            };
            if let Some(credential) = found {
                return Ok(Some(Login { source: source.clone(), credential }));
            }
        }
        Ok(None)
    }

    /// The credentials that were looked up last.
    pub fn current(&self) -> Option<Arc<Session>> {
        self.session.peek()
    }

    /// Looks again where nothing could be had before.
    pub fn forget_unavailable(&self) {
        *lock(&self.unavailable) = None;
    }
}

/// All parties of one registry.
#[derive(Default)]
pub(super) struct Parties(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_repository: HashMap<String, Arc<Party>>,
    by_account: HashMap<Option<String>, Arc<Party>>,
}

impl Parties {
    /// The party for the repository at `path`; `find` says which account is its.
    pub fn of(&self, path: &str, find: impl FnOnce() -> Option<Arc<Account>>) -> Arc<Party> {
        let mut known = lock(&self.0);
        if let Some(party) = known.by_repository.get(path) {
            return party.clone();
        }
        let account = find();
        let key = account.as_ref().map(|account| account.key.clone());
        let party = known.by_account.entry(key).or_insert_with(|| Arc::new(Party::new(account))).clone();
        known.by_repository.insert(path.to_owned(), party.clone());
        party
    }

    pub fn forget_unavailable(&self) {
        lock(&self.0).by_account.values().for_each(|party| party.forget_unavailable());
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::registry::http::Answer;

    #[tokio::test]
    async fn places_of_tokens_that_have_ended_are_given_up() {
        let (slots, answer) = (Slots::<u32>::default(), |body: &'static str| Answer {
            status: StatusCode::OK,
            headers: Default::default(),
            url: "https://auth.example.com/".parse().unwrap(),
            body: body.into(),
            sent: Default::default(),
        });
        let lasting = slot(&slots, &0);
        let made = lasting.get(|_| true, async || Ok(Token::read(&answer(r#"{"token": "t"}"#)).unwrap()));
        made.await.unwrap();
        drop(lasting);
        let used = slot(&slots, &1);
        for key in 2..10_000 {
            slot(&slots, &key);
        }
        assert!(lock(&slots).len() < 10);
        assert!(slot(&slots, &0).peek().is_some());
        assert!(Arc::ptr_eq(&used, &slot(&slots, &1)));
    }
}
