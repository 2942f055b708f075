//! From CEL's syntax tree to a typed tree of the operations that the compiled form has.

use super::error::{At, ExprError};
use super::parse::{self, Meaning, Parsed};
use super::{Comparison, Names, functions};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

/// Arithmetic with two operands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// An operation. Truth values are the numbers 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Slot(u32),
    Constant(f64),
    Negate(Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Absolute(Box<Node>),
    Least(Vec<Node>),
    Greatest(Vec<Node>),
    Choose(Box<Node>, Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    OneOf(Box<Node>, Vec<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Present(Box<Node>),
    /// A category's number; absent unless it is below this count of declared values.
    Declared(Box<Node>, u32),
    /// Present and not zero.
    Truth(Box<Node>),
}

/// What a node yields.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind<'a> {
    Truth,
    Number,
    /// A text, by its number among these.
    Category(&'a [String]),
}

/// Why lowering stopped.
pub(crate) enum Stop {
    /// The condition is wrong.
    Wrong(ExprError),
    /// The compiled form has no such operation; the interpreter may.
    Interpret,
}

impl From<ExprError> for Stop {
    fn from(error: ExprError) -> Self {
        Stop::Wrong(error)
    }
}

type Lowered<'a> = Result<(Node, Kind<'a>), Stop>;

/// Lowers a whole condition. Recursion is bounded by the caps of the guard.
pub(crate) fn lower(parsed: &Parsed<'_>, names: &dyn Names) -> Result<Node, Stop> {
    let lowering = Lowering { parsed, names };
    lowering.truth(&parsed.expr)
}

struct Lowering<'a> {
    parsed: &'a Parsed<'a>,
    names: &'a dyn Names,
}

impl<'a> Lowering<'a> {
    fn at(&self, expr: &IdedExpr) -> At {
        self.parsed.at(expr)
    }

    fn wrong_type<T>(&self, expr: &IdedExpr, message: &str) -> Result<T, Stop> {
        let at = self.at(expr);
        Err(Stop::Wrong(ExprError::WrongType { message: message.to_owned(), at }))
    }

    fn truth(&self, expr: &IdedExpr) -> Result<Node, Stop> {
        let (node, kind) = self.any(expr)?;
        self.as_truth(expr, node, kind)
    }

    /// A name alone is true when its value is present and not zero; other numbers must be compared.
    fn as_truth(&self, expr: &IdedExpr, node: Node, kind: Kind<'_>) -> Result<Node, Stop> {
        match (kind, node) {
            (Kind::Category(_), _) => self.wrong_type(expr, functions::CATEGORY_ALONE),
            (Kind::Truth, node) => Ok(node),
            (Kind::Number, node @ Node::Slot(_)) => Ok(Node::Truth(Box::new(node))),
            (Kind::Number, Node::Choose(condition, yes, no)) => Ok(Node::Choose(
                condition,
                Box::new(self.as_truth(expr, *yes, kind)?),
                Box::new(self.as_truth(expr, *no, kind)?),
            )),
            (Kind::Number, _) => self.wrong_type(expr, functions::NEEDS_TRUTH),
        }
    }

    fn number(&self, expr: &IdedExpr) -> Result<Node, Stop> {
        match self.any(expr)? {
            (node, Kind::Number) => Ok(node),
            (_, Kind::Truth) => self.wrong_type(expr, functions::NEEDS_NUMBER),
            (_, Kind::Category(_)) => self.wrong_type(expr, functions::CATEGORY_ALONE),
        }
    }

    /// A number or a category: what can be present or absent.
    fn value(&self, expr: &IdedExpr) -> Result<Node, Stop> {
        match self.any(expr)? {
            (_, Kind::Truth) => self.wrong_type(expr, functions::NEEDS_NUMBER),
            (node, _) => Ok(node),
        }
    }

    fn any(&self, expr: &IdedExpr) -> Lowered<'a> {
        if let Some(value) = parse::number(expr) {
            return Ok((Node::Constant(value), Kind::Number));
        }
        if let Some(name) = parse::dotted(expr) {
            return match parse::resolve(&name, self.at(expr), self.names)? {
                Meaning::Slot(slot) => {
                    let kind = self.names.values(&name).map_or(Kind::Number, Kind::Category);
                    Ok((Node::Slot(slot), kind))
                }
                Meaning::Constant(value) => Ok((Node::Constant(value), Kind::Number)),
            };
        }
        match &expr.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => {
                Ok((Node::Constant(f64::from(u8::from(*value.inner()))), Kind::Truth))
            }
            Expr::Literal(LiteralValue::String(_)) => self.wrong_type(expr, functions::TEXT_ALONE),
            Expr::Select(select) if select.test => {
                let Some(name) = parse::dotted(&select.operand) else {
                    return Err(Stop::Interpret);
                };
                let name = format!("{name}.{}", select.field);
                let node = match parse::resolve(&name, self.at(expr), self.names)? {
                    Meaning::Slot(slot) => Node::Slot(slot),
                    Meaning::Constant(value) => Node::Constant(value),
                };
                Ok((Node::Present(Box::new(node)), Kind::Truth))
            }
            Expr::Call(call) if call.target.is_none() => self.call(expr, call),
            _ => Err(Stop::Interpret),
        }
    }

    fn call(&self, expr: &IdedExpr, call: &CallExpr) -> Lowered<'a> {
        let name = call.func_name.as_str();
        if let Some(comparison) = Comparison::of(name)
            && let [left, right] = call.args.as_slice()
        {
            return self.compare(comparison, left, right);
        }
        match (name, call.args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => {
                let (left, right) = (self.truth(left)?, self.truth(right)?);
                Ok((Node::And(Box::new(left), Box::new(right)), Kind::Truth))
            }
            (operators::LOGICAL_OR, [left, right]) => {
                let (left, right) = (self.truth(left)?, self.truth(right)?);
                Ok((Node::Or(Box::new(left), Box::new(right)), Kind::Truth))
            }
            (operators::LOGICAL_NOT, [operand]) => {
                Ok((Node::Not(Box::new(self.truth(operand)?)), Kind::Truth))
            }
            (operators::NEGATE, [operand]) => {
                Ok((Node::Negate(Box::new(self.number(operand)?)), Kind::Number))
            }
            (operators::CONDITIONAL, [condition, yes, no]) => self.choose(condition, yes, no),
            (operators::IN, [value, list]) => self.one_of(value, list),
            (functions::PRESENT, [operand]) => {
                Ok((Node::Present(Box::new(self.value(operand)?)), Kind::Truth))
            }
            (functions::ABSENT, [operand]) => {
                let present = Node::Present(Box::new(self.value(operand)?));
                Ok((Node::Not(Box::new(present)), Kind::Truth))
            }
            (functions::ABS, [operand]) => {
                Ok((Node::Absolute(Box::new(self.number(operand)?)), Kind::Number))
            }
            (functions::MIN, [_, ..]) => Ok((Node::Least(self.numbers(&call.args)?), Kind::Number)),
            (functions::MAX, [_, ..]) => {
                Ok((Node::Greatest(self.numbers(&call.args)?), Kind::Number))
            }
            (_, [left, right]) => match arithmetic(name) {
                Some(operator) => {
                    let (left, right) = (self.number(left)?, self.number(right)?);
                    let node = Node::Arithmetic(operator, Box::new(left), Box::new(right));
                    Ok((node, Kind::Number))
                }
                None => self.unknown(expr, call),
            },
            _ => self.unknown(expr, call),
        }
    }

    fn unknown(&self, expr: &IdedExpr, call: &CallExpr) -> Lowered<'a> {
        functions::check(&call.func_name, call.args.len(), false, self.at(expr))?;
        Err(Stop::Interpret)
    }

    fn numbers(&self, args: &[IdedExpr]) -> Result<Vec<Node>, Stop> {
        args.iter().map(|arg| self.number(arg)).collect()
    }

    fn choose(&self, condition: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Lowered<'a> {
        let condition = Box::new(self.truth(condition)?);
        let ((yes_node, yes_kind), (no_node, no_kind)) = (self.any(yes)?, self.any(no)?);
        if yes_kind == no_kind {
            let node = Node::Choose(condition, Box::new(yes_node), Box::new(no_node));
            return Ok((node, yes_kind));
        }
        if let (Kind::Category(_), Kind::Category(_)) = (yes_kind, no_kind) {
            return self.wrong_type(no, functions::OTHER_VALUES);
        }
        let yes_node = self.as_truth(yes, yes_node, yes_kind)?;
        let no_node = self.as_truth(no, no_node, no_kind)?;
        Ok((Node::Choose(condition, Box::new(yes_node), Box::new(no_node)), Kind::Truth))
    }

    fn compare(&self, comparison: Comparison, left: &IdedExpr, right: &IdedExpr) -> Lowered<'a> {
        // Text is the same on either side, so the category may stand on the left.
        let (left, right) = if parse::is_text(left) { (right, left) } else { (left, right) };
        if parse::is_text(right) {
            if parse::is_text(left) {
                return self.wrong_type(right, functions::TEXT_ALONE);
            }
            let (node, Kind::Category(values)) = self.any(left)? else {
                return self.wrong_type(right, functions::TEXT_ALONE);
            };
            if !comparison.is_equality() {
                return self.wrong_type(right, functions::TEXT_ORDER);
            }
            let text = self.text_of(left, values, right)?;
            return Ok((same_text(comparison, node, text, values), Kind::Truth));
        }
        let ((left_node, left_kind), (right_node, right_kind)) =
            (self.any(left)?, self.any(right)?);
        let node = match (left_kind, right_kind) {
            (Kind::Category(_), Kind::Category(_)) if !comparison.is_equality() => {
                return self.wrong_type(left, functions::TEXT_ORDER);
            }
            (Kind::Category(values), Kind::Category(others)) if values == others => {
                same_text(comparison, left_node, right_node, values)
            }
            (Kind::Category(_), Kind::Category(_)) => {
                return self.wrong_type(right, functions::OTHER_VALUES);
            }
            (Kind::Category(_), _) => return self.wrong_type(left, functions::CATEGORY_ALONE),
            (_, Kind::Category(_)) => return self.wrong_type(right, functions::CATEGORY_ALONE),
            (Kind::Truth, _) | (_, Kind::Truth) if !comparison.is_equality() => {
                return self.wrong_type(left, functions::NEEDS_NUMBER);
            }
            _ => Node::Compare(comparison, Box::new(left_node), Box::new(right_node)),
        };
        Ok((node, Kind::Truth))
    }

    /// What is compared with a category (`of`): text, a category of the same values, or a choice of these.
    fn text_of(&self, of: &IdedExpr, values: &[String], expr: &IdedExpr) -> Result<Node, Stop> {
        if let Some(text) = parse::text(expr) {
            return Ok(Node::Constant(parse::category(of, values, text, self.at(expr))?));
        }
        if let Some([condition, yes, no]) = parse::choice(expr) {
            let condition = Box::new(self.truth(condition)?);
            let (yes, no) = (self.text_of(of, values, yes)?, self.text_of(of, values, no)?);
            return Ok(Node::Choose(condition, Box::new(yes), Box::new(no)));
        }
        match self.any(expr)? {
            (node, Kind::Category(others)) if values == others => Ok(node),
            (_, Kind::Category(_)) => self.wrong_type(expr, functions::OTHER_VALUES),
            _ => self.wrong_type(expr, functions::CATEGORY_ALONE),
        }
    }

    fn one_of(&self, value: &IdedExpr, list: &IdedExpr) -> Lowered<'a> {
        let Expr::List(list) = &list.expr else { return Err(Stop::Interpret) };
        if !list.optional_indices.is_empty() {
            return Err(Stop::Interpret);
        }
        let (value_node, kind) = self.any(value)?;
        if let Kind::Category(values) = kind {
            let texts = list.elements.iter().map(|element| {
                let text = self.text_of(value, values, element)?;
                Ok(declared(&value_node, text, values))
            });
            let texts: Vec<Node> = texts.collect::<Result<_, Stop>>()?;
            return Ok((Node::OneOf(Box::new(value_node), texts), Kind::Truth));
        }
        let mut elements = Vec::with_capacity(list.elements.len());
        for element in &list.elements {
            if parse::is_text(element) {
                return self.wrong_type(element, functions::TEXT_ALONE);
            }
            match self.any(element)? {
                (_, Kind::Category(_)) => {
                    return self.wrong_type(element, functions::CATEGORY_ALONE);
                }
                (node, _) => elements.push(node),
            }
        }
        Ok((Node::OneOf(Box::new(value_node), elements), Kind::Truth))
    }
}

/// Whether two texts are, or are not, the same. A value is the same as itself, declared or not.
fn same_text(comparison: Comparison, left: Node, right: Node, values: &[String]) -> Node {
    let right = match comparison {
        // Of equal numbers `!=` does not hold in any case.
        Comparison::Equal => declared(&left, right, values),
        _ => right,
    };
    Node::Compare(comparison, Box::new(left), Box::new(right))
}

/// What `left` is compared with for equality: texts that are not declared share a number, which must not make
/// them equal.
fn declared(left: &Node, right: Node, values: &[String]) -> Node {
    let is_itself =
        matches!((left, &right), (Node::Slot(left), Node::Slot(right)) if left == right);
    if is_itself || matches!(right, Node::Constant(_)) {
        return right;
    }
    Node::Declared(Box::new(right), values.len() as u32)
}

/// The arithmetic of an operator's name in the syntax tree.
pub(crate) fn arithmetic(operator: &str) -> Option<Arithmetic> {
    Some(match operator {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        operators::MODULO => Arithmetic::Remainder,
        _ => return None,
    })
}
