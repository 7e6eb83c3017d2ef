//! What a request shows of us, kept with its answer: what is said to it is told without that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Body, Request, Response};
use url::{Url, form_urlencoded};

use crate::foreign::Secrets;

/// As what an identity token is posted.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// What was sent with a request that is secret, or holds something secret.
#[derive(Clone, Default)]
pub(super) struct Sent {
    authorization: Option<HeaderValue>,
    form: Option<Bytes>,
}

impl Sent {
    pub fn of(request: &Request) -> Self {
        let is_form = request.headers().get(CONTENT_TYPE).is_some_and(|media_type| media_type == FORM);
        let form = request.body().filter(|_| is_form).and_then(Body::as_bytes).map(Bytes::copy_from_slice);
        Self { form, ..Self::with(request.headers()) }
    }

    pub fn with(headers: &HeaderMap) -> Self {
        Self { authorization: headers.get(AUTHORIZATION).cloned(), form: None }
    }

    /// The answer, which knows from now on what was sent to have it.
    pub fn noted_in(self, mut answer: Response) -> Response {
        answer.extensions_mut().insert(self);
        answer
    }

    pub fn taken_from(answer: &mut Response) -> Self {
        answer.extensions_mut().remove().unwrap_or_default()
    }

    /// What no message may hold of the answer that came from `url`, whose query may be signed for us.
    pub fn secrets(&self, url: &Url) -> Secrets {
        let mut secrets = Secrets::default();
        let authorization = self.authorization.as_ref().and_then(|value| value.to_str().ok()?.split_once(' '));
        if let Some((scheme, value)) = authorization {
            secrets.add(value);
            let decoded = STANDARD.decode(value).ok().filter(|_| scheme == "Basic").unwrap_or_default();
            if let Some((_, password)) = String::from_utf8_lossy(&decoded).split_once(':') {
                secrets.add(password);
            }
        }
        let form = form_urlencoded::parse(self.form.as_deref().unwrap_or_default());
        let signed =
            |name: &str| name == "sig" || ["signature", "token", "credential"].iter().any(|word| name.contains(word));
        let secret = form
            .filter(|(name, _)| name == "refresh_token")
            .chain(url.query_pairs().filter(|(name, _)| signed(&name.to_ascii_lowercase())));
        secret.for_each(|(_, value)| secrets.add(&value));
        secrets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::http::sensitive;

    #[test]
    fn what_was_sent_is_hidden_and_the_rest_is_not() {
        let url =
            "https://s.example.com/x?X-Amz-SignedHeaders=host&X-Amz-Signature=0123abcd&sig=a%2Bbcdef&digest=sha256:12&n=1000".parse().unwrap();
        let said = |sent: Sent, text: &str| sent.secrets(&url).hide(text).into_owned();
        let authorized = |value: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, sensitive(value).unwrap())]);
            Sent::with(&headers)
        };
        let basic = format!("Basic {}", STANDARD.encode("joe:hun:ter2"));
        assert_eq!(said(authorized(&basic), &format!("joe, hun:ter2, {basic}")), "joe, ***, Basic ***");
        assert_eq!(said(authorized("Bearer a.token"), "Authorization: Bearer a.token"), "Authorization: Bearer ***");
        assert_eq!(said(Sent::default(), "0123abcd a%2Bbcdef a+bcdef host sha256:12"), "*** *** *** host sha256:12");
        let mut request = Request::new(reqwest::Method::POST, url.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
        *request.body_mut() = Some("grant_type=refresh_token&refresh_token=i%3Dd+entity".into());
        assert_eq!(said(Sent::of(&request), "refresh_token i=d entity"), "refresh_token ***");
    }
}
