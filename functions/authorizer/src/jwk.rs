//! A public key of an issuer's key set, and its signature check.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;

/// Accepts padding, which some issuers write.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The algorithms of tokens' signatures. All use a private key. An HMAC is never accepted: its key would be the public
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Ed25519,
}

impl Algorithm {
    /// The algorithm that an `alg` names. Ed25519 has two names: its own (RFC 9864), and that of its family.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::Ed25519,
            _ => return None,
        })
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }
}

/// A key that can check signatures.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its `kid`.
    pub(crate) id: Option<String>,
    /// Its `alg`: the only algorithm that it may be used with.
    only: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Key {
    /// Reads a member of a key set.
    ///
    /// # Errors
    ///
    /// Why it cannot check signatures of tokens. Many key sets hold keys for other uses.
    pub(crate) fn parse(jwk: &Value) -> Result<Self, String> {
        // A restriction of the key must not be overlooked because it has an unexpected type.
        let text = |name: &str| match jwk.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| format!("its {name} is not a string")),
        };
        let (id, of, alg) = (text("kid")?, text("use")?, text("alg")?);
        if let Some(of) = of.filter(|of| *of != "sig") {
            return Err(format!("its use is {of:?} and not \"sig\""));
        }
        let for_checks =
            |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|of| of == "verify"));
        if jwk.get("key_ops").is_some_and(|list| !list.is_null() && !for_checks(list)) {
            return Err("its key_ops do not include \"verify\"".into());
        }
        let material = Material::parse(jwk)?;
        let only = alg.and_then(Algorithm::named);
        if let Some(alg) = alg.filter(|_| !only.is_some_and(|algorithm| material.fits(algorithm))) {
            return Err(format!("its alg is {alg:?}, which is not supported for it"));
        }
        Ok(Self { id: id.map(str::to_owned), only, material })
    }

    /// Whether signatures of this algorithm may be checked with it.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.only.is_none_or(|only| only == algorithm) && self.material.fits(algorithm)
    }

    /// Whether its private key made this signature, with an algorithm that fits.
    pub(crate) fn verifies(&self, signature: &[u8], message: &[u8], algorithm: Algorithm) -> bool {
        let checked =
            match &self.material {
                Material::Rsa(key) => match algorithm.rsa() {
                    Some(parameters) => key.verify(parameters, message, signature),
                    None => return false,
                },
                Material::P256(point) => UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature),
                Material::P384(point) => UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                    .verify(message, signature),
                Material::Ed25519(key) => {
                    UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature)
                }
            };
        checked.is_ok()
    }
}

impl Material {
    fn parse(jwk: &Value) -> Result<Self, String> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| {
            let decoded = text(name).and_then(|text| BASE64.decode(text).ok());
            decoded
                .filter(|bytes| !bytes.is_empty())
                .ok_or_else(|| format!("its {name} is missing or not base64url"))
        };
        // Some issuers add a leading zero to a number, or leave out the ones that it should have.
        let number = |name: &str| {
            let bytes = bytes(name)?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            Ok::<_, String>(bytes.into_iter().skip(zeros).collect::<Vec<_>>())
        };
        let point = |length: usize| {
            let mut point = vec![4];
            for name in ["x", "y"] {
                let coordinate = number(name)?;
                let zeros = length.checked_sub(coordinate.len()).filter(|zeros| *zeros <= 4);
                point.resize(
                    point.len() + zeros.ok_or_else(|| format!("its {name} has the wrong length"))?,
                    0,
                );
                point.extend(coordinate);
            }
            Ok::<_, String>(point)
        };
        match (text("kty"), text("crv")) {
            (Some("RSA"), _) => {
                let key = RsaPublicKeyComponents { n: number("n")?, e: number("e")? };
                let bits = key.n.len() * 8 - key.n.first().map_or(0, |byte| byte.leading_zeros() as usize);
                if !(2048..=8192).contains(&bits) {
                    return Err(format!("it has {bits} bits: RSA keys have 2048 to 8192"));
                }
                let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
                if !is_odd(&key.n) || !is_odd(&key.e) || key.e == [1] || key.e.len() > 4 {
                    return Err("its n and e are not an RSA key".into());
                }
                Ok(Self::Rsa(key))
            }
            (Some("EC"), Some("P-256")) => Ok(Self::P256(point(32)?)),
            (Some("EC"), Some("P-384")) => Ok(Self::P384(point(48)?)),
            (Some("OKP"), Some("Ed25519")) => match bytes("x")? {
                key if key.len() == 32 => Ok(Self::Ed25519(key)),
                _ => Err("its x does not have 32 bytes".into()),
            },
            (None, _) => Err("its kty is missing".into()),
            (Some(kind), None) => Err(format!("its kty is {kind:?}, which is not supported")),
            (Some(kind), Some(curve)) => {
                Err(format!("its kty is {kind:?} with the curve {curve:?}, which is not supported"))
            }
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa(_) => algorithm.rsa().is_some(),
            Self::P256(_) => algorithm == Algorithm::Es256,
            Self::P384(_) => algorithm == Algorithm::Es384,
            Self::Ed25519(_) => algorithm == Algorithm::Ed25519,
        }
    }
}

#[cfg(test)]
mod tests {
    use harness::issuer::{ED25519, P256, P384, RSA, SigningKey, base64};
    use serde_json::json;

    use super::*;

    fn with(key: &SigningKey, changes: &Value) -> Value {
        key.jwk_with("one", changes)
    }

    fn bytes(jwk: &Value, name: &str) -> Vec<u8> {
        BASE64.decode(jwk[name].as_str().unwrap()).unwrap()
    }

    #[test]
    fn each_algorithm_checks_its_own_signatures_and_no_others() {
        const RSAS: [&str; 6] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
        for (key, algorithms) in
            [(&*RSA, &RSAS[..]), (&P256, &["ES256"]), (&P384, &["ES384"]), (&ED25519, &["EdDSA", "Ed25519"])]
        {
            let parsed = Key::parse(&key.jwk("one")).unwrap();
            for of in algorithms {
                let signature = key.sign(of, "message");
                for tried in RSAS.iter().chain(&["ES256", "ES384", "EdDSA", "Ed25519"]) {
                    let (same, tried) =
                        (Algorithm::named(of) == Algorithm::named(tried), Algorithm::named(tried).unwrap());
                    assert_eq!(
                        parsed.fits(tried) && parsed.verifies(&signature, b"message", tried),
                        same,
                        "{of} {tried:?}"
                    );
                    assert!(!parsed.fits(tried) || !parsed.verifies(&signature, b"massage", tried));
                }
            }
        }
    }

    #[test]
    fn algorithms_without_a_private_key_and_unsupported_ones_are_not_known() {
        for name in
            ["none", "None", "", "HS256", "HS384", "HS512", "ES512", "ES256K", "Ed448", "rs256", "RSA-OAEP"]
        {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }

    #[test]
    fn keys_are_read_in_the_forms_that_issuers_write() {
        let (rsa, p256) = (RSA.jwk("one"), P256.jwk("one"));
        let padded = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE.encode(bytes);
        for (key, changes) in [
            (&*RSA, json!({})),
            (&RSA, json!({ "use": "sig", "alg": "RS256", "key_ops": ["verify"], "x5c": ["…"], "more": 1 })),
            (&RSA, json!({ "kid": null })),
            (&RSA, json!({ "n": base64([&[0], &*bytes(&rsa, "n")].concat()) })),
            (&RSA, json!({ "n": padded(&bytes(&rsa, "n")), "e": "AAEAAQ==" })),
            (&P256, json!({ "x": padded(&bytes(&p256, "x")) })),
            (&P256, json!({ "x": base64([&[0, 0], &*bytes(&p256, "x")].concat()) })),
            (&P384, json!({ "alg": "ES384" })),
            (&ED25519, json!({ "alg": "EdDSA" })),
            (&ED25519, json!({ "alg": "Ed25519", "use": "sig" })),
        ] {
            let key_read = Key::parse(&with(key, &changes)).unwrap_or_else(|why| panic!("{changes}: {why}"));
            let algorithm = key.algorithm();
            let signature = key.sign(algorithm, "message");
            assert!(
                key_read.verifies(&signature, b"message", Algorithm::named(algorithm).unwrap()),
                "{changes}"
            );
        }
    }

    #[test]
    fn a_coordinate_without_its_leading_zeros_is_padded() {
        let zeros = |length: usize| [vec![0; 32 - length], vec![7; length]].concat();
        let point = |x: &[u8], y: &[u8]| match Material::parse(
            &json!({ "kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y) }),
        ) {
            Ok(Material::P256(point)) => point,
            other => panic!("{other:?}"),
        };
        assert_eq!(point(&[7; 31], &[7; 30]), [&[4], &*zeros(31), &*zeros(30)].concat());
    }

    #[test]
    fn a_key_is_used_only_with_its_own_alg() {
        let bound = Key::parse(&with(&RSA, &json!({ "alg": "PS256" }))).unwrap();
        assert!(bound.fits(Algorithm::Ps256) && !bound.fits(Algorithm::Rs256));
        let named = Key::parse(&with(&ED25519, &json!({ "alg": "Ed25519" }))).unwrap();
        assert!(named.fits(Algorithm::named("EdDSA").unwrap()));
    }

    #[test]
    fn each_unusable_key_has_a_reason() {
        for (key, changes, why) in [
            (&*RSA, json!({ "use": "enc" }), "use"),
            (&RSA, json!({ "key_ops": ["encrypt"] }), "key_ops"),
            (&RSA, json!({ "key_ops": [] }), "key_ops"),
            (&RSA, json!({ "alg": "HS256" }), "alg"),
            (&RSA, json!({ "alg": "ES256" }), "alg"),
            (&RSA, json!({ "alg": "RSA-OAEP" }), "alg"),
            (&RSA, json!({ "use": ["enc"] }), "use is not a string"),
            (&RSA, json!({ "alg": ["RS256"] }), "alg is not a string"),
            (&RSA, json!({ "kid": 5 }), "kid is not a string"),
            (&RSA, json!({ "key_ops": "verify" }), "key_ops"),
            (&RSA, json!({ "e": "AQ" }), "not an RSA key"),
            (&RSA, json!({ "e": "Ag" }), "not an RSA key"),
            (&RSA, json!({ "e": base64([255; 5]) }), "not an RSA key"),
            (&RSA, json!({ "n": base64([254; 256]) }), "not an RSA key"),
            (&RSA, json!({ "n": "not base64!" }), "n is missing"),
            (&RSA, json!({ "e": null }), "e is missing"),
            (&RSA, json!({ "n": base64([255; 128]) }), "1024 bits"),
            (&RSA, json!({ "n": base64([&[127][..], &[255; 255]].concat()) }), "2047 bits"),
            (&RSA, json!({ "kty": "oct", "k": "c2VjcmV0" }), "kty"),
            (&RSA, json!({ "kty": null }), "kty is missing"),
            (&P256, json!({ "crv": "P-521" }), "P-521"),
            (&P256, json!({ "crv": "secp256k1" }), "secp256k1"),
            (&P256, json!({ "crv": "P-384" }), "length"),
            (&P384, json!({ "crv": "P-256" }), "length"),
            (&P256, json!({ "y": "" }), "y is missing"),
            (&ED25519, json!({ "crv": "Ed448" }), "Ed448"),
            (&ED25519, json!({ "x": "AA" }), "32 bytes"),
        ] {
            let error = Key::parse(&with(key, &changes)).unwrap_err();
            assert!(error.contains(why), "{changes}: {error}");
        }
        let longest = Key::parse(&with(&RSA, &json!({ "e": base64([255; 4]) })));
        assert!(longest.is_ok(), "an exponent has up to four bytes: {longest:?}");
        for jwk in [json!(null), json!([]), json!("key")] {
            assert!(Key::parse(&jwk).is_err(), "{jwk}");
        }
    }
}
