//! Which certificate authorities the hub trusts, and TLS with them.

use std::sync::Arc;

use anyhow::{Context, ensure};
use http::Uri;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::endpoint;

/// Amazon Trust Services' roots, all five that it asks clients with a store of their own to hold. Reading a
/// machine's whole store costs a cold start more than all the rest of it.
pub(crate) const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// The certificate authorities that the functions' calls are checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Every address begins with `http://`: there is nothing to check.
    Nobody,
    /// Amazon's own five roots, which the addresses of AWS chain to.
    Amazon,
    /// The machine's store, for addresses of one's own and for partitions that are not said to use Amazon's roots.
    Machine,
    /// `AWS_CA_BUNDLE`: a PEM file, in place of all others.
    Bundle(String),
}

impl Trust {
    /// What calls to these addresses take; `None` is an address that the SDK chooses. Reads through `get`.
    pub fn of(addresses: &[Option<String>], get: impl Fn(&str) -> Option<String>) -> Self {
        let url = |text: &String| text.parse::<Uri>().ok();
        let plain = |address: &Option<String>| {
            address.as_ref().and_then(url).is_some_and(|url| url.scheme_str() == Some("http"))
        };
        let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")).unwrap_or_default();
        // A custom domain's certificate may come from anyone; AWS's own addresses say what they are.
        let of_aws = |address: &Option<String>| match address.as_ref().map(url) {
            None => endpoint::dns_suffix(&region) == "amazonaws.com",
            Some(url) => url.and_then(|url| Some(url.host()?.ends_with(".amazonaws.com"))).unwrap_or(false),
        };
        if addresses.iter().all(plain) {
            Self::Nobody
        } else if let Some(file) = get("AWS_CA_BUNDLE") {
            Self::Bundle(file)
        } else if addresses.iter().all(of_aws) {
            Self::Amazon
        } else {
            Self::Machine
        }
    }

    /// The PEM file that `AWS_CA_BUNDLE` names, or Amazon's roots; `None` for the machine's own store.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds no certificate.
    pub fn pem(&self) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Machine | Self::Nobody => Ok(None),
            Self::Amazon => Ok(Some(AMAZON_ROOTS.to_vec())),
            Self::Bundle(file) => {
                let read = || {
                    let pem = std::fs::read(file)?;
                    roots(&pem)?;
                    Ok::<_, anyhow::Error>(pem)
                };
                let named =
                    || format!("environment variable AWS_CA_BUNDLE names {file}, which cannot be used");
                read().with_context(named).map(Some)
            }
        }
    }
}

/// TLS with `ring`. Named here, because the library that checks tokens links another provider, and rustls would not
/// choose between the two.
pub(crate) fn config(trust: &Trust) -> anyhow::Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let roots = match trust.pem()? {
        Some(pem) => roots(&pem)?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            ensure!(!roots.is_empty(), "this machine has no certificates to check a server's against");
            roots
        }
    };
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Whether a handshake failed because of the server's certificate.
pub(crate) fn is_untrusted(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

fn roots(pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate?)?;
    }
    ensure!(!roots.is_empty(), "it holds no certificate");
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trust_is_a_configuration_and_a_bad_bundle_says_which() {
        assert_eq!(roots(AMAZON_ROOTS).unwrap().len(), 5);
        config(&Trust::Amazon).unwrap();
        let text = |trust| format!("{:#}", config(&trust).unwrap_err());
        for file in ["/nowhere/ca.pem", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
            let error = text(Trust::Bundle(file.into()));
            assert!(error.contains("AWS_CA_BUNDLE") && error.contains(file), "{error}");
        }
    }

    #[test]
    fn trust_follows_the_addresses_that_are_called() {
        let trust = |addresses: &[Option<&str>], variables: &[(&str, &str)]| {
            let addresses: Vec<_> = addresses.iter().map(|address| address.map(str::to_owned)).collect();
            Trust::of(&addresses, |name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let region = |region| [("AWS_REGION", region)];
        let bundle = [("AWS_CA_BUNDLE", "/ca.pem")];
        let local = Some("http://127.0.0.1:4566");
        assert_eq!(trust(&[local, local], &bundle), Trust::Nobody);
        assert_eq!(trust(&[None, local], &bundle), Trust::Bundle("/ca.pem".into()));
        for (aws, expected) in [
            ("us-east-1", Trust::Amazon),
            ("us-gov-west-1", Trust::Amazon),
            ("cn-north-1", Trust::Machine),
            ("eusc-de-east-1", Trust::Machine),
            ("us-isob-east-1", Trust::Machine),
        ] {
            assert_eq!(trust(&[None], &region(aws)), expected, "{aws}");
        }
        for (address, expected) in [
            ("https://a.execute-api.eu-west-1.amazonaws.com/live", Trust::Amazon),
            ("https://vpce-1.execute-api.eu-west-1.vpce.amazonaws.com", Trust::Amazon),
            ("https://a.execute-api.eu-west-1.amazonaws.com:443/live", Trust::Amazon),
            ("https://a.execute-api.cn-north-1.amazonaws.com.cn/live", Trust::Machine),
            ("https://example.com/.amazonaws.com/", Trust::Machine),
            ("https://amazonaws.com.example.com/live", Trust::Machine),
            ("https://chat.example.com/live", Trust::Machine),
        ] {
            assert_eq!(trust(&[None, Some(address)], &region("eu-west-1")), expected, "{address}");
        }
    }
}
