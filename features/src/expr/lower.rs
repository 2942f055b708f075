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
    /// Present and not zero.
    Truth(Box<Node>),
}

/// Whether a node yields a truth value or a number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Truth,
    Number,
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

type Lowered = Result<(Node, Kind), Stop>;

/// Lowers a whole condition. Recursion is bounded by the caps of the guard.
pub(crate) fn lower(parsed: &Parsed<'_>, names: &dyn Names) -> Result<Node, Stop> {
    let lowering = Lowering { parsed, names };
    lowering.truth(&parsed.expr)
}

struct Lowering<'a> {
    parsed: &'a Parsed<'a>,
    names: &'a dyn Names,
}

impl Lowering<'_> {
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
    fn as_truth(&self, expr: &IdedExpr, node: Node, kind: Kind) -> Result<Node, Stop> {
        match (kind, node) {
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
        }
    }

    fn any(&self, expr: &IdedExpr) -> Lowered {
        if let Some(value) = parse::number(expr) {
            return Ok((Node::Constant(value), Kind::Number));
        }
        if let Some(name) = parse::dotted(expr) {
            return match parse::resolve(&name, self.at(expr), self.names)? {
                Meaning::Slot(slot) => Ok((Node::Slot(slot), Kind::Number)),
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

    fn call(&self, expr: &IdedExpr, call: &CallExpr) -> Lowered {
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
                Ok((Node::Present(Box::new(self.number(operand)?)), Kind::Truth))
            }
            (functions::ABSENT, [operand]) => {
                let present = Node::Present(Box::new(self.number(operand)?));
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

    fn unknown(&self, expr: &IdedExpr, call: &CallExpr) -> Lowered {
        functions::check(&call.func_name, call.args.len(), false, self.at(expr))?;
        Err(Stop::Interpret)
    }

    fn numbers(&self, args: &[IdedExpr]) -> Result<Vec<Node>, Stop> {
        args.iter().map(|arg| self.number(arg)).collect()
    }

    fn choose(&self, condition: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Lowered {
        let condition = Box::new(self.truth(condition)?);
        let ((yes_node, yes_kind), (no_node, no_kind)) = (self.any(yes)?, self.any(no)?);
        if yes_kind == no_kind {
            let node = Node::Choose(condition, Box::new(yes_node), Box::new(no_node));
            return Ok((node, yes_kind));
        }
        let yes_node = self.as_truth(yes, yes_node, yes_kind)?;
        let no_node = self.as_truth(no, no_node, no_kind)?;
        Ok((Node::Choose(condition, Box::new(yes_node), Box::new(no_node)), Kind::Truth))
    }

    fn compare(&self, comparison: Comparison, left: &IdedExpr, right: &IdedExpr) -> Lowered {
        let (left, right) = match (parse::text(left), parse::text(right)) {
            (None, None) => {
                let ((left_node, left_kind), (right_node, right_kind)) =
                    (self.any(left)?, self.any(right)?);
                if (left_kind == Kind::Truth || right_kind == Kind::Truth)
                    && !comparison.is_equality()
                {
                    return self.wrong_type(left, functions::NEEDS_NUMBER);
                }
                same_precision(left_node, right_node)
            }
            (None, Some(value)) => self.text_pair(comparison, left, right, value)?,
            (Some(value), None) => self.text_pair(comparison, right, left, value)?,
            (Some(_), Some(_)) => return self.wrong_type(left, functions::TEXT_ALONE),
        };
        Ok((Node::Compare(comparison, Box::new(left), Box::new(right)), Kind::Truth))
    }

    /// A categorical name compared with text: the text becomes its number.
    fn text_pair(
        &self,
        comparison: Comparison,
        name_expr: &IdedExpr,
        text_expr: &IdedExpr,
        value: &str,
    ) -> Result<(Node, Node), Stop> {
        if !comparison.is_equality() {
            return self.wrong_type(text_expr, functions::TEXT_ORDER);
        }
        let Some(name) = parse::dotted(name_expr) else {
            return self.wrong_type(text_expr, functions::TEXT_ALONE);
        };
        let (node, _) = self.any(name_expr)?;
        let number = parse::category(&name, value, self.at(text_expr), self.names)?;
        Ok((node, Node::Constant(number)))
    }

    fn one_of(&self, value: &IdedExpr, list: &IdedExpr) -> Lowered {
        let Expr::List(list) = &list.expr else { return Err(Stop::Interpret) };
        if !list.optional_indices.is_empty() {
            return Err(Stop::Interpret);
        }
        let (value_node, _) = self.any(value)?;
        let mut elements = Vec::with_capacity(list.elements.len());
        for element in &list.elements {
            let node = match parse::text(element) {
                Some(text) => {
                    let Some(name) = parse::dotted(value) else {
                        return self.wrong_type(element, functions::TEXT_ALONE);
                    };
                    Node::Constant(parse::category(&name, text, self.at(element), self.names)?)
                }
                None => self.any(element)?.0,
            };
            let (_, node) = same_precision(value_node.clone(), node);
            elements.push(node);
        }
        Ok((Node::OneOf(Box::new(value_node), elements), Kind::Truth))
    }
}

/// A constant that stands directly beside a slot takes the slot's precision, so that
/// `account.amount.mean == 0.1` can hold.
fn same_precision(left: Node, right: Node) -> (Node, Node) {
    match (left, right) {
        (left @ Node::Slot(_), Node::Constant(value)) => {
            (left, Node::Constant(parse::as_slot_precision(value)))
        }
        (Node::Constant(value), right @ Node::Slot(_)) => {
            (Node::Constant(parse::as_slot_precision(value)), right)
        }
        pair => pair,
    }
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
