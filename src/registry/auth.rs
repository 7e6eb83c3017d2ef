//! Answers challenges: Basic, or Bearer tokens fetched once for all who need the same, and renewed in time.
//!
//! Sources: distribution `docs/content/spec/auth/token.md`, `oauth.md`, `scope.md`. A token is fetched outside of the
//! registry's request limits, before the request that needs it queues for its permit; its server has limits of its own.

mod refusal;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use self::refusal::{is_denial, is_invalid_grant, is_refusal};
use super::Keyring;
use super::challenge::{self, Bearer, Challenge};
use super::credentials::Credential;
use super::error::{Error, ErrorKind};
use super::exchange::REFUSALS;
use super::http::{Answer, Transport, sensitive};
use super::issuers::{Issuers, TOKENS};
use super::pace::Patience;
use super::session::{Login, Parties, Party, Session, Slots, slot};
use super::token::{Need, Scope, Token};
use crate::reference::Registry;
use crate::shared::lock;

/// How often credentials may be replaced for one request.
const RENEWALS: usize = 3;

/// What a token is asked for: where, for what, and by whom.
struct Grant<'a> {
    bearer: &'a Bearer,
    scope: &'a Scope,
    session: &'a Session,
}

pub(super) struct Authenticator {
    keyring: Arc<Keyring>,
    issuers: Arc<Issuers>,
    transport: Transport,
    challenge: Mutex<Option<Challenge>>,
    parties: Parties,
    /// The token server does not know the POST of OAuth2.
    no_post: AtomicBool,
    /// The token server takes no more than one scope.
    one_scope: AtomicBool,
    /// Tokens of nobody for hosts to which redirects led, by the URL that gives them.
    guests: Slots<Url>,
}

impl Authenticator {
    pub fn new(keyring: Arc<Keyring>, issuers: Arc<Issuers>, transport: Transport) -> Self {
        Self {
            keyring,
            issuers,
            transport,
            challenge: Mutex::default(),
            parties: Parties::default(),
            no_post: AtomicBool::new(false),
            one_scope: AtomicBool::new(false),
            guests: Mutex::default(),
        }
    }

    fn registry(&self) -> &Registry {
        &self.transport.registry
    }

    /// Learns from an answer how the registry wants to be spoken to. Bearer, once offered, stays: Harbor offers Basic to a
    /// request whose token it does not like.
    pub fn learn(&self, headers: &HeaderMap, url: &Url) {
        let Some(offered) = challenge::read(headers, url) else { return };
        let mut known = lock(&self.challenge);
        let is_better = match (&*known, &offered) {
            (_, Challenge::Bearer(_)) | (None, _) => true,
            (Some(Challenge::Unusable(_)), Challenge::Basic) => true,
            (Some(_), Challenge::Basic | Challenge::Unusable(_)) => false,
        };
        if is_better {
            *known = Some(offered);
        }
    }

    /// Looks again for credentials that could not be had before.
    pub fn forget_unavailable(&self) {
        self.parties.forget_unavailable();
    }

    /// The `Authorization` for a request, as far as the registry is known to want one. `base` is its `/v2/`. If the token
    /// server wants to be left alone, this waits, within the patience of the caller.
    pub async fn authorize(
        &self,
        scope: &Scope,
        need: Need,
        base: &Url,
        patience: &Patience,
    ) -> Result<Option<HeaderValue>, Error> {
        let Some(challenge) = lock(&self.challenge).clone() else { return Ok(None) };
        let party = self.party(scope);
        let mut renewals = 0;
        loop {
            let session = party.session(self.registry(), |kind| self.error_at(base, kind)).await?;
            match self.authorize_as(&session, &challenge, scope, need, base, patience).await {
                Err(error) if error.is_rejection() && session.is_replaceable() && renewals < RENEWALS => renewals += 1,
                result => return result,
            }
        }
    }

    async fn authorize_as(
        &self,
        session: &Session,
        challenge: &Challenge,
        scope: &Scope,
        need: Need,
        base: &Url,
        patience: &Patience,
    ) -> Result<Option<HeaderValue>, Error> {
        session.check_not_refused()?;
        let own = match (challenge, &session.login) {
            (Challenge::Unusable(reason), _) => {
                return Err(self.error_at(base, ErrorKind::Malformed { reason: reason.clone() }));
            }
            (Challenge::Bearer(_), Some(Login { credential: Credential::RegistryToken(token), .. })) => {
                sensitive(&format!("Bearer {}", token.expose_secret()))
            }
            (Challenge::Bearer(bearer), _) => {
                let grant = Grant { bearer, scope, session };
                return Ok(Some(self.bearer(&grant, need, patience).await?.header));
            }
            // What is open to all is given without, and only a request shows what is.
            (Challenge::Basic, None) => return Ok(None),
            (Challenge::Basic, Some(Login { source, credential: Credential::RegistryToken(_) })) => {
                let reason = format!("{} has a token, and the registry takes a username and a password", source.name);
                return Err(self.error_at(base, ErrorKind::Unavailable { reason, remedy: source.remedy.clone() }));
            }
            (Challenge::Basic, Some(login)) => login.credential.basic(),
        };
        let Some(header) = own else { return Err(self.error_at(base, self.login_needed(scope))) };
        session.prove(async || self.try_at_base(session, scope, &header, base).await).await?;
        Ok(Some(header))
    }

    /// As `renews`; where the registry asks for more to read the repository, that is added to the scope instead, and the
    /// token that covers the rest stays.
    pub fn renews_or_widens(&self, scope: &mut Scope, used: Option<&HeaderValue>, answer: &Answer) -> bool {
        let asked = match challenge::read(&answer.headers, &answer.url) {
            Some(Challenge::Bearer(bearer)) => bearer.scope,
            _ => None,
        };
        let Some(wider) = asked.and_then(|asked| scope.widened(&asked)) else {
            return self.renews(scope, used, answer);
        };
        *scope = wider;
        self.learn(&answer.headers, &answer.url);
        true
    }

    /// Judges a refusal of credentials that came to a request sent with `used`. Answers whether it is to be sent again, since
    /// what it was refused for has changed; else the registry means it.
    pub fn renews(&self, scope: &Scope, used: Option<&HeaderValue>, answer: &Answer) -> bool {
        self.learn(&answer.headers, &answer.url);
        let challenge = lock(&self.challenge).clone();
        let session = self.party(scope).current();
        let (Some(challenge), Some(session)) = (&challenge, session) else {
            return challenge.is_some();
        };
        let own = match challenge {
            Challenge::Unusable(_) => return true,
            Challenge::Bearer(_) => match session.login.as_ref().map(|login| &login.credential) {
                Some(Credential::RegistryToken(token)) => sensitive(&format!("Bearer {}", token.expose_secret())),
                _ => {
                    session.discard(used);
                    return true;
                }
            },
            Challenge::Basic => session.login.as_ref().and_then(|login| login.credential.basic()),
        };
        if used != own.as_ref() || used.is_none() && session.login.is_some() {
            // It was sent without them, or they have been renewed since. Those that cannot be shown so are told of next.
            return true;
        }
        if answer.says_expired() {
            self.reject(&session, scope, &Method::GET, answer);
            return true;
        }
        // They were proven at /v2/, or there are none: this is about the repository, unless they have expired since.
        session.doubt()
    }

    /// When the token ends with which a request is sent now, if it is one that was given for its scope.
    pub fn end_of(&self, scope: &Scope, used: Option<&HeaderValue>) -> Option<Instant> {
        let token = self.party(scope).current()?.token(scope)?;
        (Some(&token.header) == used).then_some(token.ends)
    }

    /// Whether there are no credentials for the repository of a scope.
    pub fn is_nobody(&self, scope: &Scope) -> bool {
        self.party(scope).is_nobody()
    }

    /// What a refusal of what a scope is used for means, if there is no login where the registry knows of Basic ones alone.
    pub fn login_lacked(&self, scope: &Scope) -> Option<ErrorKind> {
        let is_basic = matches!(*lock(&self.challenge), Some(Challenge::Basic));
        self.party(scope).current().filter(|session| is_basic && session.login.is_none())?;
        let how = self.keyring.how_to_log_in(&scope.repository);
        // Some say so of what does not exist, too.
        let remedy = if scope.push { how } else { format!("if the repository's name is right, {how}") };
        Some(ErrorKind::LoginNeeded { remedy })
    }

    /// What to do where those as whom a scope is used are not let in. Many registries say so of what does not exist, too.
    pub fn remedy(&self, scope: &Scope) -> String {
        let party = self.party(scope);
        let session = party.current();
        if let Some(Login { source, .. }) = session.as_ref().and_then(|session| session.login.as_ref()) {
            let what = match scope.push {
                true => "see that their account may push to this repository",
                false => "check the repository's name, and that their account may read it",
            };
            return format!("it was asked with the credentials from {}: {what}", source.name);
        }
        let how = self.keyring.how_to_log_in(&scope.repository);
        match scope.push {
            _ if session.is_none() && !party.is_nobody() => {
                "it was asked without credentials, for which the registry did not ask".to_owned()
            }
            true => format!("it was asked without credentials: {how}"),
            false => format!("it was asked without credentials; if the repository's name is right, {how}"),
        }
    }

    fn party(&self, scope: &Scope) -> Arc<Party> {
        self.parties.of(scope.repository.path(), || self.keyring.account(&scope.repository))
    }

    /// Shows what goes into every request to `/v2/`, which any account may read.
    async fn try_at_base(
        &self,
        session: &Session,
        scope: &Scope,
        header: &HeaderValue,
        base: &Url,
    ) -> Result<(), Error> {
        session.check_not_refused()?;
        let answer = self.ask(base, Some(header), None).await?;
        if answer.is_challenge_of(base) {
            return Err(self.reject(session, scope, &Method::GET, &answer));
        }
        session.accept();
        Ok(())
    }

    /// A token that covers a scope. One that may write may read as well, and is used for that if it is there. It is not
    /// asked for to read: Quay makes a repository when a token is asked for that may write to it.
    async fn bearer(&self, grant: &Grant<'_>, need: Need, patience: &Patience) -> Result<Token, Error> {
        let mut refusals = 0;
        loop {
            let error = match self.proven_token(grant, need).await {
                Err(error) if is_held_back(&error) && refusals < REFUSALS => error,
                result => return result,
            };
            refusals += 1;
            tracing::debug!(%error, "a token is waited for");
            // The wait is here and not in the fetch: one fetch serves several callers, and each has its own patience.
            let realm = &grant.bearer.realm;
            let issuer = self.issuers.of(realm, self.registry());
            issuer.pace.wait(&TOKENS, patience).await.map_err(|kind| self.error_at(realm, kind))?;
        }
    }

    async fn proven_token(&self, grant: &Grant<'_>, need: Need) -> Result<Token, Error> {
        let Grant { scope, session, .. } = *grant;
        if !scope.push {
            let writing = Scope { push: true, ..scope.clone() };
            if let Some(token) = session.token(&writing).filter(|token| token.lasts(need)) {
                return Ok(token);
            }
        }
        let mut own = None;
        if session.login.is_some() {
            let attempt = async || match self.token(grant, need).await {
                Err(error) if error.is_rejection() || is_held_back(&error) => Err(error),
                // A refusal of this scope is no refusal of the password, nor of other scopes.
                result => {
                    own = Some(result);
                    Ok(())
                }
            };
            session.prove(attempt).await?;
        }
        match own {
            Some(result) => result,
            None => self.token(grant, need).await,
        }
    }

    /// The token for a scope, fetched if there is none that lasts.
    async fn token(&self, grant: &Grant<'_>, need: Need) -> Result<Token, Error> {
        let slot = grant.session.slot(grant.scope);
        match slot.peek().filter(|token| token.lasts(need)) {
            Some(token) => Ok(token),
            None => Box::pin(slot.get(|token| token.lasts(need), async || self.fetch(grant).await)).await,
        }
    }

    async fn fetch(&self, grant: &Grant<'_>) -> Result<Token, Error> {
        let Grant { bearer, scope, session } = *grant;
        session.check_not_refused()?;
        let mut scopes = scope.parameters();
        let is_list = scopes.len() > 1;
        if is_list && self.one_scope.load(Relaxed) {
            scopes.truncate(1);
        }
        let (mut method, mut answer) = self.ask_for_token(bearer, &scopes, session).await?;
        // Where the other repository may not be read, or lists are not understood, a mount is the registry's to refuse.
        if scopes.len() > 1 && answer.status.is_client_error() {
            self.one_scope.fetch_or(answer.status == StatusCode::BAD_REQUEST && !is_refusal(&answer), Relaxed);
            scopes.truncate(1);
            (method, answer) = self.ask_for_token(bearer, &scopes, session).await?;
        }
        let error = |kind| self.error(&method, &answer.url, kind);
        if answer.status.is_success() {
            let token = Token::read(&answer).map_err(|reason| error(ErrorKind::Malformed { reason }))?;
            session.accept();
            return Ok(token);
        }
        let is_rejection = session.login.is_some() && self.is_of_credentials(bearer, session, &answer).await;
        Err(match &session.login {
            None if is_refusal(&answer) => error(self.login_needed(scope)),
            _ if is_rejection || answer.says_expired() || is_invalid_grant(&answer) => {
                self.reject(session, scope, &method, &answer)
            }
            _ => error(answer.refusal_of(&bearer.realm)).with_remedy(self.remedy(scope)),
        })
    }

    /// Whether a refusal of a token is one of the credentials, and not of what they were to be good for. Those that gave a
    /// token before may be refused for one scope alone, and so may those of which it is said with 403: shown without a
    /// scope, they tell. Some deny whatever has no scope, so it counts only if the same is said of both.
    async fn is_of_credentials(&self, bearer: &Bearer, session: &Session, answer: &Answer) -> bool {
        let is_own = |answer: &Answer| answer.url.origin() == bearer.realm.origin();
        let is_new = !session.was_accepted();
        if !is_own(answer) || !(is_refusal(answer) || is_new && is_denial(answer)) {
            return false;
        }
        if is_new && is_refusal(answer) {
            return true;
        }
        let bare = self.ask_for_token(bearer, &[], session).await.ok();
        let Some((_, bare)) = bare.filter(|(_, bare)| is_own(bare)) else { return false };
        if bare.status.is_success() {
            session.accept();
        }
        match is_denial(answer) {
            true => is_denial(&bare) && bare.refusal().to_string() == answer.refusal().to_string(),
            false => is_refusal(&bare),
        }
    }

    /// Asks the token server: by POST in exchange for an identity token, where it knows that, else by GET. Answers also how.
    async fn ask_for_token(
        &self,
        bearer: &Bearer,
        scopes: &[String],
        session: &Session,
    ) -> Result<(Method, Answer), Error> {
        let credential = session.login.as_ref().map(|login| &login.credential);
        if let Some(Credential::IdentityToken(identity)) = credential
            && !self.no_post.load(Relaxed)
        {
            let form: SecretString = bearer.form(scopes, identity).into();
            let answer = self.ask(&bearer.realm, None, Some(&form)).await?;
            if !matches!(answer.status.as_u16(), 404 | 405 | 415 | 501) {
                return Ok((Method::POST, answer));
            }
            self.no_post.store(true, Relaxed);
        }
        let authorization = credential.and_then(Credential::basic);
        Ok((Method::GET, self.ask(&bearer.url(scopes), authorization.as_ref(), None).await?))
    }

    /// A token of nobody in particular for a host to which a redirect led and that wants one, if it says for what and
    /// gives it to anybody: another one than the one it `refused`. Our credentials are for the registry and nobody else.
    pub async fn guest(&self, headers: &HeaderMap, url: &Url, refused: Option<&HeaderValue>) -> Option<HeaderValue> {
        let Some(Challenge::Bearer(bearer)) = challenge::read(headers, url) else { return None };
        let url = bearer.url(&[bearer.scope.clone()?]);
        let slot = slot(&self.guests, &url);
        slot.discard(|token| Some(&token.header) == refused);
        let fetch = async || {
            let answer = self.ask(&url, None, None).await?;
            match answer.status.is_success() {
                true => Token::read(&answer).map_err(|reason| self.error_at(&url, ErrorKind::Malformed { reason })),
                false => Err(self.error_at(&url, answer.refusal())),
            }
        };
        let token = slot.get(|token| token.lasts(Need::Request), fetch).await;
        token.inspect_err(|error| tracing::debug!(%error, "no token for where a redirect led")).ok().map(|t| t.header)
    }

    async fn ask(
        &self,
        url: &Url,
        authorization: Option<&HeaderValue>,
        form: Option<&SecretString>,
    ) -> Result<Answer, Error> {
        self.issuers.of(url, self.registry()).ask(&self.transport, url, authorization, form).await
    }

    /// Notes that the registry refused these credentials.
    fn reject(&self, session: &Session, scope: &Scope, method: &Method, answer: &Answer) -> Error {
        let error = |kind| self.error(method, &answer.url, kind);
        let (source, remedy) = match &session.login {
            Some(login) => (login.source.name.clone(), login.source.remedy.clone()),
            None => return error(self.login_needed(scope)),
        };
        let message = answer.refusal().to_string();
        session.refuse(error(ErrorKind::Rejected { source, message, remedy }))
    }

    /// There are no credentials for a repository whose registry wants some.
    fn login_needed(&self, scope: &Scope) -> ErrorKind {
        ErrorKind::LoginNeeded { remedy: self.keyring.how_to_log_in(&scope.repository) }
    }

    fn error_at(&self, url: &Url, kind: ErrorKind) -> Error {
        self.error(&Method::GET, url, kind)
    }

    fn error(&self, method: &Method, url: &Url, kind: ErrorKind) -> Error {
        Error::new(self.registry(), method, url, kind)
    }
}

/// Whether a token could not be asked for because its server is held back, which will end.
fn is_held_back(error: &Error) -> bool {
    let is_refused = error.is_overload() && error.is_worth_repeating();
    is_refused || matches!(error.kind, ErrorKind::Limited { hopeless: false, .. })
}
