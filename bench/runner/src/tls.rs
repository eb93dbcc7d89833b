//! TLS in front of a server: on AWS every call is made through it.

use std::{path::Path, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// Takes TLS connections for what is at `url`, with the certificate and key of `folder`, and returns its new URL.
pub(crate) async fn front(url: &str, folder: &Path) -> String {
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem"));
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("scripts/bench.sh makes a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.expect("scripts/bench.sh makes a certificate")], key)
        .expect("scripts/bench.sh makes a key that belongs to the certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let address = url.trim_start_matches("http://");
    let (behind, path) = address.split_once('/').unwrap_or((address, ""));
    let behind = behind.to_owned();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let mut front = acceptor.accept(stream).await?;
                let mut back = TcpStream::connect(behind).await?;
                back.set_nodelay(true)?;
                copy_bidirectional(&mut front, &mut back).await
            });
        }
    });
    format!("https://{address}/{path}")
}
