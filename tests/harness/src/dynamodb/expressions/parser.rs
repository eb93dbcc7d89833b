//! Reads an expression by DynamoDB's grammar, and refuses what DynamoDB refuses.

use std::{cmp::Ordering, collections::HashSet};

use serde_json::Value;

use super::{Action, Change, Comparator, Condition, Expressions, NAMES, Operand};
use crate::dynamodb::{
    Refusal,
    attributes::{kind, order},
    invalid,
};

/// DynamoDB's reserved words, as far as something here might be called by one.
const RESERVED: &str = "ACTION ADD AFTER ALL AND AS AT AUTH BATCH BEFORE BETWEEN BLOCK BY CLOSE CONNECT CONNECTION \
    COUNT COUNTER CREATE CURRENT CURSOR DATA DATE DAY DELETE DISCONNECT DURATION EACH EMPTY END ERROR EXISTS FIRST \
    FOUND FROM HASH HIDDEN HOLD HOUR IDENTITY IN INDEX IS ITEM ITEMS KEY KEYS LAST LENGTH LEVEL LIMIT LIST LOCK LOG \
    MAP MEMBER MINUTE MISSING NAME NAMES NEW NEXT NO NONE NOT NULL NUMBER OBJECT OF OFFSET OLD ONLINE OPEN OR ORDER \
    OWNER PARTITION POSITION QUERY RANGE READ RECORD RELEASE REPLACE RESULT ROLE ROW SECOND SELECT SEQUENCE \
    SESSION SET SIZE SOURCE START STATE STATUS STORAGE STORE STORED STREAM STRING SUM TEXT TIME TIMESTAMP TO TOKEN \
    TOTAL TRANSACTION TTL TYPE UNIQUE UNKNOWN UPDATE URL USER USERS UUID VALUE VALUES VIEW VOID WAIT WHEN WRITE YEAR \
    ZONE";

fn tokens(text: &str) -> Result<Vec<&str>, Refusal> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let word =
            1 + rest.bytes().skip(1).take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let length = match rest.as_bytes() {
            [b'<', b'=' | b'>', ..] | [b'>', b'=', ..] => 2,
            [b'=' | b'<' | b'>' | b'(' | b')' | b',', ..] => 1,
            [b'#' | b':', ..] if word > 1 => word,
            [first, ..] if first.is_ascii_alphabetic() => word,
            _ => return Err(invalid(format!("syntax error near {rest}"))),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

/// Reads one expression.
pub(super) struct Parser<'i, 'e> {
    tokens: Vec<&'i str>,
    at: usize,
    /// Where the parentheses that were closed last stand.
    group: Option<(usize, usize)>,
    expressions: &'e mut Expressions<'i>,
}

impl<'i, 'e> Parser<'i, 'e> {
    pub(super) fn new(text: &'i str, expressions: &'e mut Expressions<'i>) -> Result<Self, Refusal> {
        Ok(Self { tokens: tokens(text)?, at: 0, group: None, expressions })
    }

    /// What `rule` makes of the whole expression.
    pub(super) fn whole<T>(
        mut self,
        rule: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let read = rule(&mut self)?;
        if self.at < self.tokens.len() { Err(self.unexpected()) } else { Ok(read) }
    }

    fn peek(&self) -> &'i str {
        self.tokens.get(self.at).copied().unwrap_or_default()
    }

    fn unexpected(&self) -> Refusal {
        invalid(format!("syntax error at token {:?}", self.peek()))
    }

    /// Whether the next token is this one, which is then taken. Keywords may be written in either case.
    fn take(&mut self, token: &str) -> bool {
        let is_next = self.peek().eq_ignore_ascii_case(token);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, token: &str) -> Result<(), Refusal> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn list<T>(
        &mut self,
        one: impl Fn(&mut Self) -> Result<T, Refusal>,
    ) -> Result<Vec<T>, Refusal> {
        let mut all = vec![one(self)?];
        while self.take(",") {
            all.push(one(self)?);
        }
        Ok(all)
    }

    /// condition OR condition
    pub(super) fn any(&mut self) -> Result<Condition, Refusal> {
        let mut condition = self.all()?;
        while self.take("OR") {
            condition = Condition::Or(condition.into(), self.all()?.into());
        }
        Ok(condition)
    }

    /// condition AND condition
    fn all(&mut self) -> Result<Condition, Refusal> {
        let mut condition = self.not()?;
        while self.take("AND") {
            condition = Condition::And(condition.into(), self.not()?.into());
        }
        Ok(condition)
    }

    /// NOT condition
    fn not(&mut self) -> Result<Condition, Refusal> {
        if self.take("NOT") {
            return Ok(Condition::Not(self.not()?.into()));
        }
        let start = self.at;
        if self.take("(") {
            let condition = self.any()?;
            if self.group == Some((start + 1, self.at - 1)) {
                return Err(invalid("the expression has redundant parentheses"));
            }
            self.group = Some((start, self.at));
            return self.expect(")").map(|()| condition);
        }
        if self.is_call() && self.peek() != "size" {
            return self.function();
        }
        self.comparison()
    }

    fn is_call(&self) -> bool {
        self.tokens.get(self.at + 1) == Some(&"(")
    }

    fn function(&mut self) -> Result<Condition, Refusal> {
        let name = self.peek();
        self.at += 2;
        let condition = match name {
            "attribute_exists" => Condition::Exists(self.path()?),
            "attribute_not_exists" => Condition::Not(Condition::Exists(self.path()?).into()),
            "contains" => {
                let path = self.path()?;
                self.expect(",")?;
                Condition::Contains(path, self.operand()?)
            }
            _ => return Err(invalid(format!("invalid function name, or one unknown here: {name}"))),
        };
        self.expect(")").map(|()| condition)
    }

    fn comparison(&mut self) -> Result<Condition, Refusal> {
        let one = self.operand()?;
        if self.take("BETWEEN") {
            let low = self.operand()?;
            self.expect("AND")?;
            let high = self.operand()?;
            for operand in [&one, &low, &high] {
                must_have_order(operand)?;
            }
            if let (Operand::Value(low), Operand::Value(high)) = (&low, &high)
                && order(low, high).is_none_or(Ordering::is_gt)
            {
                return Err(invalid(
                    "BETWEEN requires an upper bound of the lower one's type and not below it",
                ));
            }
            return Ok(Condition::Between(one, low, high));
        }
        let comparator = Comparator::read(self.peek()).ok_or_else(|| self.unexpected())?;
        self.at += 1;
        let other = self.operand()?;
        if !matches!(comparator, Comparator::Equal | Comparator::NotEqual) {
            must_have_order(&one)?;
            must_have_order(&other)?;
        }
        Ok(Condition::Compare(one, comparator, other))
    }

    fn operand(&mut self) -> Result<Operand, Refusal> {
        if self.peek().starts_with(':') {
            return self.value().map(Operand::Value);
        }
        if !self.is_call() {
            return self.path().map(Operand::Path);
        }
        if !self.take("size") {
            return Err(self.unexpected());
        }
        self.expect("(")?;
        let path = self.path()?;
        self.expect(")").map(|()| Operand::Size(path))
    }

    fn value(&mut self) -> Result<Value, Refusal> {
        let token = self.peek();
        if !token.starts_with(':') {
            return Err(self.unexpected());
        }
        let value = self.expressions.values.get(token).cloned();
        self.at += 1;
        self.expressions.used.insert(token);
        value.ok_or_else(|| invalid(format!("an expression attribute value is not defined: {token}")))
    }

    /// An attribute's name, whole or by a placeholder. Nothing here looks into lists or maps.
    pub(super) fn path(&mut self) -> Result<String, Refusal> {
        let token = self.peek();
        if token.starts_with('#') {
            self.at += 1;
            self.expressions.used.insert(token);
            let name = self.expressions.input[NAMES][token].as_str().map(ToOwned::to_owned);
            return name
                .ok_or_else(|| invalid(format!("an expression attribute name is not defined: {token}")));
        }
        if RESERVED.split_whitespace().any(|word| word.eq_ignore_ascii_case(token)) {
            return Err(invalid(format!("attribute name is a reserved keyword: {token}")));
        }
        if !token.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(token.to_owned())
    }

    pub(super) fn changes(&mut self) -> Result<Vec<Change>, Refusal> {
        let mut changes = Vec::new();
        let mut clauses = HashSet::new();
        while self.at < self.tokens.len() {
            let clause = self.peek().to_ascii_uppercase();
            self.at += 1;
            changes.extend(match clause.as_str() {
                "SET" => self.list(Self::set)?,
                "ADD" => self.list(|parser| parser.addition(&["N", "SS"], Action::Add))?,
                "DELETE" => self.list(|parser| parser.addition(&["SS"], Action::Delete))?,
                "REMOVE" => {
                    self.list(|parser| Ok(Change { path: parser.path()?, action: Action::Remove }))?
                }
                _ => return Err(invalid(format!("invalid clause, or one unknown here: {clause}"))),
            });
            if !clauses.insert(clause) {
                return Err(invalid("a clause can only be used once in an update expression"));
            }
        }
        Ok(changes)
    }

    fn set(&mut self) -> Result<Change, Refusal> {
        let path = self.path()?;
        self.expect("=")?;
        if !self.is_call() {
            return Ok(Change { path, action: Action::Set(self.operand()?) });
        }
        if self.peek() != "if_not_exists" {
            return Err(invalid(format!("invalid function name, or one unknown here: {}", self.peek())));
        }
        self.at += 2;
        let kept = self.path()?;
        self.expect(",")?;
        let action = Action::SetIfNotExists(kept, self.operand()?);
        self.expect(")")?;
        Ok(Change { path, action })
    }

    /// What is added to an attribute, or taken from it.
    fn addition(&mut self, kinds: &[&str], action: fn(Value) -> Action) -> Result<Change, Refusal> {
        let path = self.path()?;
        let by = self.value()?;
        if !kinds.contains(&kind(&by)) {
            return Err(invalid("incorrect operand type for operator ADD or DELETE"));
        }
        Ok(Change { path, action: action(by) })
    }
}

/// A value of the request's own must be comparable; an attribute that is not merely fails the comparison.
fn must_have_order(operand: &Operand) -> Result<(), Refusal> {
    match operand {
        Operand::Value(value) if order(value, value).is_none() => {
            Err(invalid("incorrect operand type for operator"))
        }
        _ => Ok(()),
    }
}
