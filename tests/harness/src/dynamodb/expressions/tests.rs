//! Expressions and what becomes of them, by cases from DynamoDB's documentation and what it is known to answer.

use super::*;

/// What a condition says of the item {a: 1, b: "b", yes: true, both: {"b", "c"}}, given the values :one, :ten, :b, :yes and
/// :set where it names them.
fn condition(text: &str) -> Result<bool, String> {
    let all = json!({ ":one": { "N": "1.0" }, ":ten": { "N": "10" }, ":b": { "S": "b" }, ":yes": { "BOOL": true }, ":set": { "SS": ["c", "b"] } });
    let named = all.as_object().unwrap().iter().filter(|(name, _)| text.contains(name.as_str()));
    let named: Attributes = named.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut input = json!({ "C": text, NAMES: { "#last": "last" } });
    if !named.is_empty() {
        input[VALUES] = named.into();
    }
    if !text.contains('#') {
        input.as_object_mut().unwrap().remove(NAMES);
    }
    let mut expressions = Expressions::new(&input).map_err(|refusal| refusal.message)?;
    let condition = expressions.condition("C").map_err(|refusal| refusal.message)?.unwrap();
    expressions.finish().map_err(|refusal| refusal.message)?;
    let item = json!({ "a": { "N": "1" }, "b": { "S": "b" }, "yes": { "BOOL": true }, "both": { "SS": ["b", "c"] } });
    Ok(condition.holds(&attributes(&item).unwrap()))
}

#[test]
fn conditions_hold_or_not() {
    for (text, expected) in [
        ("a = :one", true),
        ("a < :ten", true),
        ("a >= :ten", false),
        ("a <> :b", true),
        ("a < :b", false),
        ("yes < :one", false),
        ("yes = :yes", true),
        ("a BETWEEN :one AND :ten", true),
        ("a between :one and :ten and b = :b", true),
        ("attribute_exists(a) AND attribute_not_exists(c)", true),
        ("attribute_exists(#last)", false),
        ("both = :set", true),
        ("both <> :b", true),
        ("size(both) > :one AND size(both) < :ten", true),
        ("size(b) <= :one", true),
        ("contains(both, :b) AND contains(b, :b) AND contains(both, b)", true),
        ("contains(both, :one) OR contains(a, :b)", false),
        // A missing attribute: unequal to everything, and in no order with anything.
        ("c = :one", false),
        ("c <> :one", true),
        ("c = d", false),
        ("c <> d", true),
        ("c < :one", false),
        ("c >= :one", false),
        ("NOT c < :one", true),
        ("c BETWEEN :one AND :ten", false),
        ("size(c) <= :ten OR size(a) <= :ten OR contains(c, :b)", false),
        // NOT before AND before OR.
        ("NOT a = :one AND a = :ten", false),
        ("NOT (a = :one AND a = :ten)", true),
        ("a = :one OR a = :one AND a = :ten", true),
        ("(a = :one OR a = :one) AND a = :ten", false),
    ] {
        assert_eq!(condition(text), Ok(expected), "{text}");
    }
}

#[test]
fn wrong_conditions_are_refused() {
    for (text, reason) in [
        ("", "empty"),
        ("a", "syntax error"),
        ("a =", "syntax error"),
        ("a = :one b", "syntax error"),
        ("a = :one)", "syntax error"),
        ("(a = :one", "syntax error"),
        ("a == :one", "syntax error"),
        ("a = 1", "syntax error"),
        ("a.b = :one", "syntax error"),
        ("é = :one", "syntax error"),
        ("_a = :one", "syntax error"),
        ("last = :one", "reserved keyword: last"),
        ("Offset = :one", "reserved keyword: Offset"),
        ("attribute_exists(void)", "reserved keyword: void"),
        ("a = :two", "not defined: :two"),
        ("a = #two", "not defined: #two"),
        ("attribute_exists(:one)", "syntax error"),
        ("Attribute_Exists(a)", "function"),
        ("((a = :one))", "redundant"),
        ("a < :yes", "operand type"),
        ("both < :set", "operand type"),
        ("size(:set) = :one", "syntax error"),
        ("size(both)", "syntax error"),
        ("Size(both) = :one", "function"),
        ("contains(both)", "syntax error"),
        ("a BETWEEN :ten AND :one", "upper bound"),
        ("a BETWEEN :one AND :b", "upper bound"),
    ] {
        let refusal = condition(text).expect_err(text);
        assert!(refusal.contains(reason), "{text}: {refusal}");
    }
    assert!(condition(&format!("a = :one{}", " ".repeat(LONGEST))).is_err(), "too long");
}

#[test]
fn what_is_defined_must_be_used() {
    for (member, name) in [(NAMES, "#b"), (VALUES, ":b")] {
        let value = if member == NAMES { json!("b") } else { json!({ "S": "b" }) };
        let mut input = json!({ "C": "attribute_exists(a)" });
        input[member] = json!({ name: value });
        let mut expressions = Expressions::new(&input).unwrap();
        expressions.condition("C").unwrap();
        assert!(expressions.finish().is_err(), "{name}");

        input[member] = json!({});
        assert!(Expressions::new(&input).is_err(), "empty {member}");
    }
}

fn update(text: &str) -> Result<Value, String> {
    let input = json!({ "UpdateExpression": text, VALUES: { ":one": { "N": "1" }, ":x": { "S": "x" }, ":set": { "SS": ["y", "x"] } } });
    let mut expressions = Expressions::new(&input).unwrap();
    let changes = expressions.update().map_err(|refusal| refusal.message)?;
    let old = attributes(&json!({ "a": { "N": "41" }, "b": { "S": "b" } })).unwrap();
    let mut new = old.clone();
    for change in changes {
        change.apply(&old, &mut new).map_err(|refusal| refusal.message)?;
    }
    Ok(new.into())
}

#[test]
fn updates_change_what_they_say() {
    let (a, b) = (json!({ "N": "41" }), json!({ "S": "b" }));
    for (text, expected) in [
        ("SET c = :x", json!({ "a": a, "b": b, "c": { "S": "x" } })),
        (
            "SET b = if_not_exists(b, :x), c = if_not_exists(c, :x)",
            json!({ "a": a, "b": b, "c": { "S": "x" } }),
        ),
        ("ADD a :one, c :one", json!({ "a": { "N": "42" }, "b": b, "c": { "N": "1" } })),
        ("REMOVE b, c", json!({ "a": a })),
        ("ADD c :set", json!({ "a": a, "b": b, "c": { "SS": ["x", "y"] } })),
        ("DELETE c :set", json!({ "a": a, "b": b })),
        ("remove b set a = b add c :one", json!({ "a": b, "c": { "N": "1" } })),
        // Values are those before the update.
        ("SET a = b, b = a", json!({ "a": b, "b": a })),
    ] {
        assert_eq!(update(text), Ok(expected), "{text}");
    }
    for (text, reason) in [
        ("SET a = :one, a = :x", "overlap"),
        ("SET a = :one ADD a :one", "overlap"),
        ("SET a = :one SET b = :x", "only be used once"),
        ("SET a = c", "does not exist"),
        ("SET last = :one", "reserved"),
        ("SET a = list_append(a, :one)", "function"),
        ("ADD a :x", "operand type"),
        ("ADD b :one", "data type"),
        ("ADD a :set", "data type"),
        ("ADD a b", "syntax error"),
        ("DELETE a :x", "operand type"),
        ("DELETE a :one", "operand type"),
        ("DELETE a :set", "data type"),
        ("INSERT a :x", "clause"),
        ("a = :one", "clause"),
        ("SET a = :one,", "syntax error"),
    ] {
        let refusal = update(text).expect_err(text);
        assert!(refusal.contains(reason), "{text}: {refusal}");
    }
}

#[test]
fn a_set_grows_and_shrinks_until_it_is_not_there() {
    let both = |members: &[&str]| json!({ "SS": members });
    for (text, before, after) in [
        ("ADD c :by", both(&["a", "b"]), Some(both(&["a", "b", "c"]))),
        ("DELETE c :by", both(&["a", "b"]), Some(both(&["a"]))),
        ("DELETE c :by", both(&["b", "c"]), None),
    ] {
        let input = json!({ "UpdateExpression": text, VALUES: { ":by": both(&["c", "b"]) } });
        let changes = Expressions::new(&input).unwrap().update().unwrap();
        let old = attributes(&json!({ "c": before })).unwrap();
        let mut new = old.clone();
        changes[0].apply(&old, &mut new).unwrap();
        assert_eq!(new.get("c"), after.as_ref(), "{text}");
    }
}
