//! TLS, and its trust anchors.

use std::sync::{Arc, LazyLock};

use anyhow::{Context, anyhow, ensure};
use http::Uri;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{config::Variables, endpoint::dns_suffix};

/// A TLS configuration, for any number of connections.
pub type Tls = Arc<ClientConfig>;

/// The five roots of Amazon Trust Services, which AWS asks clients with their own store to include. Reading the
/// machine's whole store would take longer than the rest of a cold start.
static AMAZON_ROOTS: LazyLock<anyhow::Result<RootCertStore>> =
    LazyLock::new(|| from_pem(include_bytes!("amazon-roots.pem")));

/// TLS for calls to these addresses; `None` is an address that the SDK chooses.
///
/// The trust anchors are those of the PEM file `AWS_CA_BUNDLE`. Without one they are Amazon's roots if all addresses
/// are AWS's, and otherwise the machine's store: a custom domain may have a certificate of any authority, and not every
/// partition is known to use Amazon's roots.
///
/// # Errors
///
/// The certificates cannot be read, or there are none.
pub fn config(addresses: &[Option<String>], variables: &Variables) -> anyhow::Result<Tls> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let roots = roots(addresses, variables)?;
    let config = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots);
    Ok(Arc::new(config.with_no_client_auth()))
}

fn roots(addresses: &[Option<String>], variables: &Variables) -> anyhow::Result<RootCertStore> {
    let region = variables.region().unwrap_or_default();
    let is_plain = |address: &Option<String>| address.as_ref().is_some_and(|url| url.starts_with("http://"));
    let is_aws = |address: &Option<String>| match address {
        None => dns_suffix(&region) == "amazonaws.com",
        Some(url) => {
            url.parse().is_ok_and(|url: Uri| url.host().is_some_and(|host| host.ends_with(".amazonaws.com")))
        }
    };
    // Plain HTTP needs no bundle, so it is not read.
    let bundle = variables.get("AWS_CA_BUNDLE").filter(|_| !addresses.iter().all(is_plain));
    if let Some(file) = bundle {
        let read = || from_pem(&std::fs::read(&file)?);
        return read().with_context(|| {
            format!("environment variable AWS_CA_BUNDLE names {file}, which cannot be used")
        });
    }
    if addresses.iter().all(|address| is_plain(address) || is_aws(address)) {
        return AMAZON_ROOTS.as_ref().cloned().map_err(|error| anyhow!("{error:#}"));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ensure!(!roots.is_empty(), "this machine has no trust anchors to check a server's certificate with");
    Ok(roots)
}

fn from_pem(pem: &[u8]) -> anyhow::Result<RootCertStore> {
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

    fn trusted(addresses: &[Option<&str>], variables: &[(&str, &str)]) -> anyhow::Result<RootCertStore> {
        let addresses: Vec<_> = addresses.iter().map(|address| address.map(str::to_owned)).collect();
        roots(&addresses, &Variables::of(variables))
    }

    fn is_amazons(addresses: &[Option<&str>], region: &str) -> bool {
        let amazons = AMAZON_ROOTS.as_ref().unwrap();
        // A machine without a store has no other answer than an error.
        trusted(addresses, &[("AWS_REGION", region)]).is_ok_and(|roots| roots.roots == amazons.roots)
    }

    #[test]
    fn amazons_five_roots_are_usable_for_tls() {
        assert_eq!(AMAZON_ROOTS.as_ref().unwrap().len(), 5);
        config(&[None], &Variables::of(&[("AWS_REGION", "eu-west-1")])).unwrap();
    }

    #[test]
    fn a_bundle_takes_precedence_and_a_bad_one_is_named() {
        const OF_AMAZON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/amazon-roots.pem");
        let remote = Some("https://chat.example.com/live");
        let bundle = |file| trusted(&[None, remote], &[("AWS_CA_BUNDLE", file)]);
        assert_eq!(bundle(OF_AMAZON).unwrap().len(), 5);
        for file in ["/nowhere/ca.pem", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
            let error = format!("{:#}", bundle(file).unwrap_err());
            assert!(error.contains("AWS_CA_BUNDLE") && error.contains(file), "{error}");
        }
        let local = Some("http://127.0.0.1:4566");
        trusted(&[local, local], &[("AWS_CA_BUNDLE", "/nowhere/ca.pem")]).unwrap();
    }

    #[test]
    fn the_trust_anchors_depend_on_the_addresses() {
        let local = Some("http://127.0.0.1:4566");
        for (region, expected) in [
            ("us-east-1", true),
            ("us-gov-west-1", true),
            ("cn-north-1", false),
            ("eusc-de-east-1", false),
            ("us-isob-east-1", false),
        ] {
            assert_eq!(is_amazons(&[None, local], region), expected, "{region}");
        }
        for (address, expected) in [
            ("https://a.execute-api.eu-west-1.amazonaws.com/live", true),
            ("https://vpce-1.execute-api.eu-west-1.vpce.amazonaws.com", true),
            ("https://a.execute-api.eu-west-1.amazonaws.com:443/live", true),
            ("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_aBcDeFgHi", true),
            ("https://a.execute-api.cn-north-1.amazonaws.com.cn/live", false),
            ("https://example.com/.amazonaws.com/", false),
            ("https://amazonaws.com.example.com/live", false),
            ("https://chat.example.com/live", false),
        ] {
            assert_eq!(is_amazons(&[None, Some(address)], "eu-west-1"), expected, "{address}");
        }
    }
}
