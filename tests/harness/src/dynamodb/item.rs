//! What DynamoDB's tables have in common: which members a request may have, and how one item is read and written.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    Operation, Refusal, UNKNOWN,
    attributes::{Attributes, size},
    expressions::{Action, Change, Expressions},
    invalid,
};

/// The largest item, in bytes.
const LARGEST: usize = 400 * 1024;
/// The longest part of a key that is text, in bytes.
const LONGEST_KEY: usize = 1024;

const RETURN: &str = "ReturnValues";
const RETURN_ON_FAILURE: &str = "ReturnValuesOnConditionCheckFailure";
/// What can be asked to be returned; the first two everywhere, the rest of an update only.
const ANY: [&str; 5] = ["NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"];

/// A request's expressions, where it has no member that is unknown here.
pub(crate) fn expressions(operation: Operation, input: &Value) -> Result<Expressions<'_>, Refusal> {
    let members: &[&str] = match operation {
        Operation::GetItem => &["Key", "ConsistentRead", "ProjectionExpression"],
        Operation::PutItem => &["Item", "ConditionExpression", RETURN, RETURN_ON_FAILURE],
        Operation::UpdateItem => {
            &["Key", "UpdateExpression", "ConditionExpression", RETURN, RETURN_ON_FAILURE]
        }
        Operation::DeleteItem => &["Key", "ConditionExpression", RETURN, RETURN_ON_FAILURE],
        Operation::Query => &[
            "IndexName",
            "KeyConditionExpression",
            "ProjectionExpression",
            "ConsistentRead",
            "ScanIndexForward",
            "Limit",
            "ExclusiveStartKey",
        ],
        Operation::Scan => &["IndexName", "FilterExpression", "Select", "ExclusiveStartKey"],
        Operation::BatchWriteItem => {
            return Err(Refusal { kind: UNKNOWN, message: String::new(), item: None });
        }
    };
    let everywhere = ["TableName", "ExpressionAttributeNames", "ExpressionAttributeValues"];
    let is_known = |name: &str| members.contains(&name) || everywhere.contains(&name);
    if let Some(name) = input.as_object().and_then(|input| input.keys().find(|name| !is_known(name))) {
        return Err(invalid(format!("a member that is unknown here: {name}")));
    }
    Expressions::new(input)
}

/// The text that is part of a key.
pub(crate) fn key_text(attributes: &Attributes, name: &str) -> Option<String> {
    let text = attributes.get(name)?["S"].as_str()?;
    (1..=LONGEST_KEY).contains(&text.len()).then(|| text.to_owned())
}

/// How many items a page may have.
pub(crate) fn limit(input: &Value, page: Option<usize>) -> Result<usize, Refusal> {
    let limit = match &input["Limit"] {
        Value::Null => None,
        limit => {
            let limit = limit.as_u64().filter(|limit| *limit > 0).and_then(|limit| limit.try_into().ok());
            Some(limit.ok_or_else(|| invalid("a limit must be at least 1"))?)
        }
    };
    Ok(limit.into_iter().chain(page).min().unwrap_or(usize::MAX))
}

/// The answer to a read of an item.
pub(crate) fn get(mut expressions: Expressions<'_>, item: Option<&Attributes>) -> Result<Value, Refusal> {
    let projection = expressions.projection()?;
    expressions.finish()?;
    let item = item.map(|item| projected(item, projection.as_ref()));
    Ok(item.map_or_else(|| json!({}), |item| json!({ "Item": item })))
}

/// What becomes of an item, whose key has the attributes `keys`, and the answer to the write that puts, updates or deletes
/// it. `named` is the new item or the key.
pub(crate) fn write(
    operation: Operation,
    input: &Value,
    mut expressions: Expressions<'_>,
    keys: &[&str],
    named: Attributes,
    old: Option<Attributes>,
) -> Result<(Option<Attributes>, Value), Refusal> {
    let condition = expressions.condition("ConditionExpression")?;
    let changes = expressions.update()?;
    expressions.finish()?;
    if changes.iter().any(|change| keys.contains(&change.path.as_str())) {
        return Err(invalid("cannot update an attribute that is part of the key"));
    }
    let wanted = choice(input, RETURN, if operation == Operation::UpdateItem { &ANY } else { &ANY[..2] })?;
    let wanted_on_failure = choice(input, RETURN_ON_FAILURE, &ANY[..2])?;

    if condition.is_some_and(|condition| !condition.holds(old.as_ref().unwrap_or(&Attributes::new()))) {
        return Err(Refusal {
            kind: "ConditionalCheckFailedException",
            message: "The conditional request failed".to_owned(),
            item: old.filter(|_| wanted_on_failure == "ALL_OLD"),
        });
    }
    let new = match operation {
        Operation::DeleteItem => None,
        Operation::PutItem => Some(named),
        _ => updated(&changes, old.as_ref(), &named)?,
    };
    if new.as_ref().is_some_and(|new| size(new) > LARGEST) {
        return Err(invalid("item size has exceeded the maximum allowed size"));
    }
    let changed: HashSet<String> = changes.into_iter().map(|change| change.path).collect();
    let returned = match wanted {
        "ALL_OLD" => old,
        "ALL_NEW" => new.clone(),
        "UPDATED_OLD" => old.map(|old| projected(&old, Some(&changed))),
        "UPDATED_NEW" => new.as_ref().map(|new| projected(new, Some(&changed))),
        _ => None,
    };
    let returned = returned.filter(|returned| !returned.is_empty());
    Ok((new, returned.map_or_else(|| json!({}), |attributes| json!({ "Attributes": attributes }))))
}

fn choice<'i>(input: &'i Value, member: &str, choices: &[&str]) -> Result<&'i str, Refusal> {
    let choice = input.get(member).map_or(Some("NONE"), Value::as_str);
    choice.filter(|choice| choices.contains(choice)).ok_or_else(|| invalid(format!("invalid {member}")))
}

pub(crate) fn projected(item: &Attributes, projection: Option<&HashSet<String>>) -> Attributes {
    let is_wanted = |name: &String| projection.is_none_or(|names| names.contains(name));
    item.iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The item after its changes. To remove attributes, or members of a set, does not create one.
fn updated(
    changes: &[Change],
    old: Option<&Attributes>,
    key: &Attributes,
) -> Result<Option<Attributes>, Refusal> {
    let removes = |change: &Change| matches!(change.action, Action::Remove | Action::Delete(_));
    let creates = changes.is_empty() || !changes.iter().all(removes);
    if old.is_none() && !creates {
        return Ok(None);
    }
    let before = old.cloned().unwrap_or_default();
    let mut new = old.unwrap_or(key).clone();
    for change in changes {
        change.apply(&before, &mut new)?;
    }
    Ok(Some(new))
}
