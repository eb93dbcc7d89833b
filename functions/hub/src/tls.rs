//! How a server is known to be itself.

use std::sync::Arc;

use anyhow::{Context, ensure};
use hyper_rustls::ConfigBuilderExt;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::config::Trust;

/// Amazon Trust Services' roots, all five that it asks clients with a store of their own to hold. Reading a
/// machine's whole store costs a cold start more than all the rest of it.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// TLS with `ring`. Named here, because the library that checks tokens links another provider, and rustls would not
/// choose between the two.
pub(crate) fn config(trust: &Trust) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::Machine => builder
            .with_native_roots()
            .context("this machine has no certificates to check a server's against")?,
        Trust::Nobody => builder.with_root_certificates(RootCertStore::empty()),
        Trust::Amazon => builder.with_root_certificates(roots(AMAZON_ROOTS)?),
        Trust::Bundle(file) => {
            let read = || roots(&std::fs::read(file)?);
            let roots = read().with_context(|| {
                format!("environment variable AWS_CA_BUNDLE names {file}, which cannot be used")
            })?;
            builder.with_root_certificates(roots)
        }
    };
    Ok(builder.with_no_client_auth())
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
        for trust in [Trust::Nobody, Trust::Amazon] {
            config(&trust).unwrap();
        }
        let text = |trust| format!("{:#}", config(&trust).unwrap_err());
        for file in ["/nowhere/ca.pem", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
            let error = text(Trust::Bundle(file.into()));
            assert!(error.contains("AWS_CA_BUNDLE") && error.contains(file), "{error}");
        }
    }
}
