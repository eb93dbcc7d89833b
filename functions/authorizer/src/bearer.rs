//! Finds the bearer token of a handshake, in one of three places.

use hub::event::Admission;

/// The prefix of the subprotocol that carries the token.
const SUBPROTOCOL_PREFIX: &str = "bearer.";

/// The token of a handshake, or the reason why there is none.
///
/// It may be in the header `Authorization`, the query parameter `token` or a subprotocol, but in one of them only: if
/// there were two, a proxy might check one and the hub use the other.
pub(crate) fn find(admission: &Admission) -> Result<&str, &'static str> {
    let headers = admission.authorization.iter().map(|value| bearer(value).ok_or("not_a_bearer_token"));
    let parameters = admission.query_tokens.iter().map(|value| Ok(value.as_str()));
    let subprotocols =
        admission.subprotocols.iter().filter_map(|offered| offered.strip_prefix(SUBPROTOCOL_PREFIX)).map(Ok);
    let mut tokens = headers.chain(parameters).chain(subprotocols);
    let token = tokens.next().ok_or("no_token")?;
    if tokens.next().is_some() {
        return Err("more_than_one_token");
    }
    token
}

/// The token of `Bearer {token}`. The scheme is not case-sensitive.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(authorization: &[&str], query: &[&str], subprotocols: &[&str]) -> Result<String, &'static str> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        find(&Admission {
            method_arn: String::new(),
            connection_id: String::new(),
            session: Ok(None),
            authorization: owned(authorization),
            query_tokens: owned(query),
            subprotocols: owned(subprotocols),
        })
        .map(str::to_owned)
    }

    #[test]
    fn a_token_is_found_in_each_place() {
        for authorization in ["Bearer x.y.z", "bearer x.y.z", "BEARER  x.y.z "] {
            assert_eq!(found(&[authorization], &[], &[]).unwrap(), "x.y.z");
        }
        assert_eq!(found(&[], &["x.y.z"], &["hub.v1"]).unwrap(), "x.y.z");
        for subprotocols in [&["hub.v1", "bearer.x.y.z"][..], &["bearer.x.y.z", "hub.v1"], &["bearer.x.y.z"]]
        {
            assert_eq!(found(&[], &[], subprotocols).unwrap(), "x.y.z");
        }
    }

    #[test]
    fn a_missing_token_and_another_scheme_have_different_reasons() {
        assert_eq!(found(&[], &[], &["hub.v1", "Bearer.x", "bearer"]).unwrap_err(), "no_token");
        for authorization in ["Basic dTpw", "x.y.z", "Bearer", ""] {
            assert_eq!(
                found(&[authorization], &[], &[]).unwrap_err(),
                "not_a_bearer_token",
                "{authorization}"
            );
        }
    }

    #[test]
    fn two_tokens_are_refused_in_any_places_even_if_they_are_equal() {
        for (authorization, query, subprotocols) in [
            (&["Bearer x", "Bearer x"][..], &[][..], &[][..]),
            (&[], &["x", "x"], &[]),
            (&[], &["", "x"], &[]),
            (&[], &[], &["bearer.x", "hub.v1", "bearer.x"]),
            (&["Bearer x"], &["x"], &[]),
            (&["Basic dTpw"], &["x"], &[]),
            (&["Bearer x"], &[], &["bearer.x"]),
            (&[], &["x"], &["bearer.x"]),
        ] {
            assert_eq!(found(authorization, query, subprotocols).unwrap_err(), "more_than_one_token");
        }
    }
}
