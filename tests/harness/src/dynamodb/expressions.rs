//! DynamoDB's expressions over the attributes of an item: read by its grammar, checked by its rules, and evaluated.

mod parser;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, cmp::Ordering, collections::HashSet};

use serde_json::{Value, json};

use self::parser::Parser;
use super::{
    Refusal,
    attributes::{Attributes, attributes, members, number, order, set},
    invalid,
};

/// The longest expression, in bytes.
const LONGEST: usize = 4096;

/// The expressions of one request, with the names and values that they refer to.
pub(crate) struct Expressions<'i> {
    input: &'i Value,
    values: Attributes,
    used: HashSet<&'i str>,
}

impl<'i> Expressions<'i> {
    pub(crate) fn new(input: &'i Value) -> Result<Self, Refusal> {
        for (member, sigil) in [(NAMES, '#'), (VALUES, ':')] {
            let Some(defined) = input[member].as_object() else { continue };
            if defined.is_empty() || defined.keys().any(|name| !name.starts_with(sigil)) {
                return Err(invalid(format!("{member} must not be empty, and each starts with {sigil}")));
            }
        }
        let values = &input[VALUES];
        let values = if values.is_null() { Attributes::new() } else { attributes(values)? };
        Ok(Self { input, values, used: HashSet::new() })
    }

    /// A condition, if the request has that member.
    pub(crate) fn condition(&mut self, member: &'static str) -> Result<Option<Condition>, Refusal> {
        self.parser(member)?.map(|parser| parser.whole(Parser::any)).transpose()
    }

    /// What `UpdateItem` is to change.
    pub(crate) fn update(&mut self) -> Result<Vec<Change>, Refusal> {
        let changes = self
            .parser("UpdateExpression")?
            .map(|parser| parser.whole(Parser::changes))
            .transpose()?
            .unwrap_or_default();
        distinct(changes.iter().map(|change| &change.path))?;
        Ok(changes)
    }

    /// The attributes that a read is to give, if not all.
    pub(crate) fn projection(&mut self) -> Result<Option<HashSet<String>>, Refusal> {
        let paths = self.parser("ProjectionExpression")?;
        let paths = paths.map(|parser| parser.whole(|parser| parser.list(Parser::path))).transpose()?;
        paths.map(|paths| distinct(paths.iter()).map(|()| paths.into_iter().collect())).transpose()
    }

    /// Refuses what was defined and not used.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        for member in [NAMES, VALUES] {
            let mut defined = self.input[member].as_object().into_iter().flat_map(|defined| defined.keys());
            if let Some(unused) = defined.find(|name| !self.used.contains(name.as_str())) {
                return Err(invalid(format!("value provided in {member} unused in expressions: {unused}")));
            }
        }
        Ok(())
    }

    fn parser(&mut self, member: &'static str) -> Result<Option<Parser<'i, '_>>, Refusal> {
        let Some(text) = self.input.get(member).filter(|text| !text.is_null()) else { return Ok(None) };
        let text = text.as_str().unwrap_or_default();
        if text.is_empty() || text.len() > LONGEST {
            return Err(invalid(format!("{member} is empty or too long")));
        }
        Parser::new(text, self).map(Some)
    }
}

const NAMES: &str = "ExpressionAttributeNames";
const VALUES: &str = "ExpressionAttributeValues";

fn distinct<'a>(paths: impl Iterator<Item = &'a String>) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for path in paths {
        if !seen.insert(path) {
            return Err(invalid(format!("two document paths overlap with each other: {path}")));
        }
    }
    Ok(())
}

#[derive(Debug)]
pub(crate) enum Operand {
    Path(String),
    Value(Value),
    /// How many members a set has, or characters a text.
    Size(String),
}

impl Operand {
    fn of<'a>(&'a self, item: &'a Attributes) -> Option<Cow<'a, Value>> {
        match self {
            Self::Path(path) => item.get(path).map(Cow::Borrowed),
            Self::Value(value) => Some(Cow::Borrowed(value)),
            Self::Size(path) => {
                let value = item.get(path)?;
                let size = members(value).map(|members| members.len());
                let size = size.or_else(|| Some(value.get("S")?.as_str()?.len()))?;
                Some(Cow::Owned(json!({ "N": size.to_string() })))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparator {
    fn read(token: &str) -> Option<Self> {
        Some(match token {
            "=" => Self::Equal,
            "<>" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// A missing attribute is unequal to everything, even to another, and not in any order.
    fn holds(self, one: Option<Cow<'_, Value>>, other: Option<Cow<'_, Value>>) -> bool {
        let (Some(one), Some(other)) = (one, other) else { return self == Self::NotEqual };
        let ordering = order(&one, &other);
        match self {
            Self::Equal => one == other,
            Self::NotEqual => one != other,
            Self::Less => ordering.is_some_and(Ordering::is_lt),
            Self::LessOrEqual => ordering.is_some_and(Ordering::is_le),
            Self::Greater => ordering.is_some_and(Ordering::is_gt),
            Self::GreaterOrEqual => ordering.is_some_and(Ordering::is_ge),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Condition {
    Exists(String),
    /// Of a set, or of a text that may be part of another.
    Contains(String, Operand),
    Compare(Operand, Comparator, Operand),
    Between(Operand, Operand, Operand),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

impl Condition {
    pub(crate) fn holds(&self, item: &Attributes) -> bool {
        match self {
            Self::Exists(path) => item.contains_key(path),
            Self::Contains(path, operand) => {
                let (value, part) = (item.get(path), operand.of(item));
                let part = part.as_ref().and_then(|part| part.get("S")?.as_str());
                value.zip(part).is_some_and(|(value, part)| match members(value) {
                    Some(members) => members.contains(part),
                    None => value["S"].as_str().is_some_and(|text| text.contains(part)),
                })
            }
            Self::Compare(one, comparator, other) => comparator.holds(one.of(item), other.of(item)),
            Self::Between(value, low, high) => {
                Comparator::GreaterOrEqual.holds(value.of(item), low.of(item))
                    && Comparator::LessOrEqual.holds(value.of(item), high.of(item))
            }
            Self::Not(condition) => !condition.holds(item),
            Self::And(one, other) => one.holds(item) && other.holds(item),
            Self::Or(one, other) => one.holds(item) || other.holds(item),
        }
    }
}

/// One action of an update expression.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) action: Action,
}

#[derive(Debug)]
pub(crate) enum Action {
    Set(Operand),
    /// The attribute that is kept where it is there, and what is set elsewhere.
    SetIfNotExists(String, Operand),
    /// A number to another, or members to a set.
    Add(Value),
    Remove,
    /// Members of a set.
    Delete(Value),
}

impl Change {
    /// Makes the change to `new`, with the values that `old` has.
    pub(crate) fn apply(&self, old: &Attributes, new: &mut Attributes) -> Result<(), Refusal> {
        let missing = || invalid("the expression refers to an attribute that does not exist in the item");
        let wrong_type = || invalid("an operand in the update expression has an incorrect data type");
        let value = match &self.action {
            Action::Remove => {
                new.remove(&self.path);
                return Ok(());
            }
            Action::Set(operand) => operand.of(old).ok_or_else(missing)?.into_owned(),
            Action::SetIfNotExists(path, operand) => {
                let kept = old.get(path).map(Cow::Borrowed);
                kept.or_else(|| operand.of(old)).ok_or_else(missing)?.into_owned()
            }
            Action::Delete(by) => {
                let Some(value) = old.get(&self.path) else { return Ok(()) };
                let value = members(value).ok_or_else(wrong_type)?;
                let rest = &value - &members(by).unwrap_or_default();
                let Some(rest) = set(&rest) else {
                    new.remove(&self.path);
                    return Ok(());
                };
                rest
            }
            Action::Add(by) => match (old.get(&self.path), members(by)) {
                (None, _) => by.clone(),
                (Some(value), Some(by)) => {
                    let value = members(value).ok_or_else(wrong_type)?;
                    set(&(&value | &by)).ok_or_else(wrong_type)?
                }
                (Some(value), None) => {
                    let value = number(value).ok_or_else(wrong_type)?;
                    let sum = number(by).and_then(|by| value.plus(by));
                    json!({ "N": sum.ok_or_else(|| invalid("number overflow"))?.to_string() })
                }
            },
        };
        new.insert(self.path.clone(), value);
        Ok(())
    }
}
