//! Certificates and tokens for servers that ask for them, made anew for every test.

use data_encoding::BASE64URL_NOPAD;
use jsplan::io::server::JETSTREAM;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa};
use serde_json::{Value, json};

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    /// A new one, which shares its name with no other.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its own certificate, in PEM.
    pub(crate) fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this host, and its key, in PEM.
    pub(crate) fn issue(&self, host: &str) -> (String, String) {
        let params = CertificateParams::new(vec![host.to_owned()]).expect("a host");
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// An operator with one account that has JetStream.
pub(crate) struct Operator {
    account: KeyPair,
    /// The configuration of a server that obeys it.
    pub(crate) config: String,
}

impl Operator {
    /// A new one.
    pub(crate) fn new() -> Self {
        let (operator, account, system) =
            (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
        let own = token(
            &operator,
            &operator,
            "operator",
            json!({
                "system_account": system.public_key(),
            }),
        );
        let config = format!(
            "operator: {own}\nsystem_account: {}\nresolver: MEMORY\n\
             resolver_preload: {{ {}: {}, {}: {} }}\n{JETSTREAM}",
            system.public_key(),
            account.public_key(),
            token(&account, &operator, "account", json!({ "limits": limits(-1) })),
            system.public_key(),
            token(&system, &operator, "account", json!({ "limits": limits(0) })),
        );
        Self { account, config }
    }

    /// The public name of the account.
    pub(crate) fn account(&self) -> String {
        self.account.public_key()
    }

    /// The token and the seed of a new user.
    pub(crate) fn user(&self) -> (String, String) {
        let user = KeyPair::new_user();
        let jwt =
            token(&user, &self.account, "user", json!({ "subs": -1, "data": -1, "payload": -1 }));
        (jwt, user.seed().expect("a seed"))
    }

    /// The credentials file of a new user.
    pub(crate) fn creds(&self) -> String {
        let (jwt, seed) = self.user();
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

fn limits(jetstream: i64) -> Value {
    json!({
        "subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1,
        "payload": -1, "wildcards": true, "mem_storage": jetstream, "disk_storage": jetstream,
        "streams": jetstream, "consumer": jetstream,
    })
}

/// A token about one key pair, signed by another.
fn token(about: &KeyPair, by: &KeyPair, kind: &str, mut claims: Value) -> String {
    claims["type"] = json!(kind);
    claims["version"] = json!(2);
    let body = json!({
        "jti": "unused", "iat": 1_700_000_000, "iss": by.public_key(), "sub": about.public_key(),
        "name": kind, "nats": claims,
    });
    let part = |it: Value| BASE64URL_NOPAD.encode(it.to_string().as_bytes());
    let signed = format!("{}.{}", part(json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(body));
    let signature = by.sign(signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}
