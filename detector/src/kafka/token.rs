//! Tokens for OAUTHBEARER: from a file that something else keeps fresh, or asked for by client credentials.

use super::security::Security;
use crate::fetch::{Caller, basic, percent_encoded};
use base64::Engine;
use rdkafka::bindings::rd_kafka_oauthbearer_set_token;
use rdkafka::client::{Client, ClientContext, OAuthToken};
use rdkafka::types::RDKafkaRespErr;
use serde::Deserialize;
use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A token that does not say when it expires is fetched anew after this.
const UNSAID_MS: i64 = 300_000;
/// Longest wait for the token's endpoint. The client waits with it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest file that is read as a token.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Where tokens come from.
pub struct Tokens {
    from: From,
}

enum From {
    File(PathBuf),
    Endpoint { url: String, authorization: String, scope: Option<String>, caller: Caller },
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<i64>,
}

/// What a refusal may say: its code is no secret.
#[derive(Deserialize)]
struct Denied {
    error: String,
}

/// The claims that matter here. Whether the token is genuine, the broker says.
#[derive(Default, Deserialize)]
struct Claims {
    exp: Option<f64>,
    sub: Option<String>,
}

impl Tokens {
    /// As configured; `None` unless the mechanism is OAUTHBEARER.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub fn new(security: &Security) -> Result<Option<Self>, String> {
        if !security.has_tokens() {
            return Ok(None);
        }
        if let Some(path) = &security.token_file {
            return Ok(Some(Self { from: From::File(path.into()) }));
        }
        let text = |key: &Option<String>| key.clone().unwrap_or_default();
        // RFC 6749 has both encoded before they are joined.
        let authorization = basic(
            &percent_encoded(&text(&security.client_id)),
            &percent_encoded(&text(&security.client_secret)),
        );
        let caller = Caller::new(security.ca_file.as_deref(), PATIENCE)?;
        let (url, scope) = (text(&security.token_url), security.scope.clone());
        Ok(Some(Self { from: From::Endpoint { url, authorization, scope, caller } }))
    }

    /// A token that holds now.
    ///
    /// # Errors
    /// What is in the way; no part of it is a secret.
    pub fn fetch(&self) -> Result<OAuthToken, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let (token, expires_in_s) = match &self.from {
            From::File(path) => {
                let fail = |e: std::io::Error| format!("token_file {}: {e}", path.display());
                if std::fs::metadata(path).map_err(fail)?.len() > TOKEN_BYTES_MAX {
                    return Err(format!("token_file {}: longer than any token", path.display()));
                }
                (std::fs::read_to_string(path).map_err(fail)?.trim().to_owned(), None)
            }
            From::Endpoint { url, authorization, scope, caller } => {
                let mut form = vec![("grant_type", "client_credentials")];
                form.extend(scope.as_deref().map(|scope| ("scope", scope)));
                let (status, body) = caller
                    .post(url, authorization, &form)
                    .map_err(|e| format!("token_url does not answer: {e}"))?;
                if status != 200 {
                    let code = serde_json::from_slice::<Denied>(&body).map(|denied| denied.error);
                    return Err(format!(
                        "token_url answers with status {status} ({})\nhint: check client_id, client_secret and scope in [kafka.security]",
                        code.as_deref().unwrap_or("no reason given")
                    ));
                }
                let granted: Granted = serde_json::from_slice(&body)
                    .map_err(|_| "token_url answers with something that is no token".to_owned())?;
                (granted.access_token, granted.expires_in)
            }
        };
        if token.is_empty() {
            return Err("the token is empty".into());
        }
        let claims = claims(&token).unwrap_or_default();
        let expires_ms = match (claims.exp, expires_in_s) {
            (Some(exp), _) => (exp * 1000.0) as i64,
            (None, Some(s)) => now_ms.saturating_add(s.saturating_mul(1000)),
            (None, None) => now_ms.saturating_add(UNSAID_MS),
        };
        if expires_ms <= now_ms {
            return Err("the token has expired\nhint: is what keeps it fresh still running, and is the clock of this machine right?".into());
        }
        let principal_name = claims.sub.unwrap_or_else(|| "detector".to_owned());
        Ok(OAuthToken { token, principal_name, lifetime_ms: expires_ms })
    }
}

/// Gives a client a token, which it would ask for and nobody would hear: what an admin client says by itself is not served.
///
/// # Errors
/// When the client does not take it.
#[expect(
    unsafe_code,
    reason = "the wrapped client has no call for it, and its own use of this one is not public"
)]
pub fn give<C: ClientContext>(client: &Client<C>, token: OAuthToken) -> Result<(), String> {
    let text = |text: String| CString::new(text).map_err(|_| "the token is no text".to_owned());
    let (value, principal) = (text(token.token)?, text(token.principal_name)?);
    let mut why = [0; WHY_BYTES];
    // SAFETY: the client lives longer than the call, which may be made from any thread and copies what it is given; both texts end in a
    // zero byte; there are no extensions; `why` has the length that is told, and comes back with a zero byte in it.
    let (code, why) = unsafe {
        let code = rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            why.as_mut_ptr(),
            why.len(),
        );
        (code, CStr::from_ptr(why.as_ptr()).to_string_lossy())
    };
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        _ => Err(format!("the token is not taken: {why}")),
    }
}

/// Longest reason that the client may give.
const WHY_BYTES: usize = 512;

/// The claims of a JSON Web Token; `None` for a token of another kind.
fn claims(token: &str) -> Option<Claims> {
    let middle = token.split('.').nth(1)?;
    let bytes =
        base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(middle.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::security::Mechanism;
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};

    fn jwt(claims: &str) -> String {
        let part = |text: &str| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.sig", part("{\"alg\":\"none\"}"), part(claims))
    }

    fn of_file(text: &str) -> Result<OAuthToken, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let security = Security {
            mechanism: Some(Mechanism::OauthBearer),
            token_file: Some(file.path().display().to_string()),
            ..Security::default()
        };
        Tokens::new(&security).unwrap().unwrap().fetch()
    }

    #[test]
    fn a_file_holds_the_token_and_the_token_says_when_it_expires() {
        let token = jwt("{\"sub\":\"detector\",\"exp\":4102444800.5}");
        let found = of_file(&format!("{token}\n")).unwrap();
        assert_eq!((found.token.as_str(), found.principal_name.as_str()), (&*token, "detector"));
        assert_eq!(found.lifetime_ms, 4_102_444_800_500);
        assert!(of_file(&jwt("{\"exp\":1}")).err().unwrap().contains("expired"));
        assert!(of_file(" \n").err().unwrap().contains("empty"));
        assert!(of_file("opaque").is_ok());
    }

    /// Answers one request; returns what it was asked.
    fn endpoint(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let (mut said, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                said.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            said + &String::from_utf8(body).unwrap()
        });
        (url, asked)
    }

    fn of_endpoint(answer: &'static str) -> (Result<OAuthToken, String>, String) {
        let (url, asked) = endpoint(answer);
        let security = Security {
            mechanism: Some(Mechanism::OauthBearer),
            token_url: Some(url),
            client_id: Some("me".into()),
            client_secret: Some("hunter 2".into()),
            scope: Some("kafka".into()),
            ..Security::default()
        };
        let found = Tokens::new(&security).unwrap().unwrap().fetch();
        (found, asked.join().unwrap())
    }

    #[test]
    fn an_endpoint_is_asked_by_client_credentials() {
        let (found, asked) = of_endpoint(
            "HTTP/1.1 200 OK\r\ncontent-length: 41\r\n\r\n{\"access_token\":\"opaque\",\"expires_in\":60}",
        );
        assert_eq!(found.unwrap().token, "opaque");
        assert!(asked.contains(&basic("me", "hunter%202")), "{asked}");
        assert!(asked.ends_with("grant_type=client_credentials&scope=kafka"), "{asked}");
    }

    #[test]
    fn a_refusal_is_told_with_its_code_and_without_the_secret() {
        let (found, _) = of_endpoint(
            "HTTP/1.1 401 No\r\ncontent-length: 26\r\n\r\n{\"error\":\"invalid_client\"}",
        );
        let why = found.err().unwrap();
        assert!(why.contains("401") && why.contains("invalid_client"), "{why}");
        assert!(!why.contains("hunter"), "{why}");
    }
}
