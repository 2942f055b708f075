//! Short HTTP calls that the service itself makes: for tokens and for schemas.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Makes calls, over kept connections.
pub struct Caller {
    agent: ureq::Agent,
}

/// An answer: status and body.
pub type Answer = (u16, Vec<u8>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It is longer than this number of bytes, and is not read.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(u64),
    /// The call failed.
    #[error("{0}")]
    Failed(String),
}

impl Caller {
    /// Trusts the authorities in `ca_file`, else those of the system; a call takes at most `patience`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(ca_file: Option<&str>, patience: Duration) -> Result<Self, String> {
        let roots = match ca_file {
            Some(path) => CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|e| format!("cannot read the certificates in {path}: {e}"))?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let roots: Vec<_> = roots.iter().map(|c| Certificate::from_der(c).to_owned()).collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("detector/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { agent })
    }

    /// GET.
    ///
    /// # Errors
    /// When there is no answer; an answer that says no is one.
    pub fn get(&self, url: &str, authorization: Option<&str>) -> Result<Answer, NoAnswer> {
        let mut request = self.agent.get(url);
        if let Some(value) = authorization {
            request = request.header("Authorization", value);
        }
        read(request.call())
    }

    /// Any request, as it is.
    ///
    /// # Errors
    /// As [`Caller::get`].
    #[cfg(feature = "otel")]
    pub fn send(
        &self,
        request: ureq::http::Request<&[u8]>,
    ) -> Result<(ureq::http::StatusCode, ureq::http::HeaderMap, Vec<u8>), String> {
        let answer = self.agent.run(request).map_err(|e| e.to_string())?;
        let (head, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok((head.status, head.headers, body.map_err(|e| e.to_string())?))
    }

    /// POST of a form.
    ///
    /// # Errors
    /// As [`Caller::get`].
    pub fn post(
        &self,
        url: &str,
        authorization: &str,
        form: &[(&str, &str)],
    ) -> Result<Answer, NoAnswer> {
        let request = self.agent.post(url).header("Authorization", authorization);
        read(request.header("Accept", "application/json").send_form(form.iter().copied()))
    }
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, NoAnswer> {
    let failed = |error| match error {
        ureq::Error::BodyExceedsLimit(_) => NoAnswer::TooLarge(ANSWER_BYTES_MAX),
        error => NoAnswer::Failed(error.to_string()),
    };
    let mut answer = answer.map_err(failed)?;
    let status = answer.status().as_u16();
    match answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(failed) {
        Ok(body) => Ok((status, body)),
        // A refusal is one whatever is said beside it.
        Err(NoAnswer::TooLarge(_)) if !(200..300).contains(&status) => Ok((status, Vec::new())),
        Err(error) => Err(error),
    }
}

/// An address without user and password, as it may be shown.
pub fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}://{host}{path}") }
}

/// The header of user and password.
pub fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// A text as a part of an address.
pub fn percent_encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
