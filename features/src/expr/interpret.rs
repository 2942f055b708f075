//! The interpreted form: what the compiled form has no operation for (lists held in hand, and the
//! macros `exists`, `all`, `filter`, `map` over them) runs in the `cel` crate's interpreter.
//!
//! The syntax tree is rewritten once, so that it means the same as the compiled form would: names
//! become variables by slot, whole numbers become doubles, and every operation that an absent value
//! changes (comparisons, division, remainder, minimum, maximum) becomes a call of a function that knows
//! about absence. An evaluation costs 0.5 to 5 us and allocates.

use super::error::{At, ExprError};
use super::functions::{self, divide, greatest, least, remainder};
use super::parse::{self, Meaning, Parsed};
use super::{Comparison, Names};
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::common::functions::Function;
use cel::common::types::{CelBool, CelDouble, CelInt, CelUInt, DYN_TYPE};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Value};
use std::sync::{Arc, LazyLock};

/// Most macros inside one another: each multiplies the work by the length of its list.
const MACRO_NESTING_MAX: usize = 2;

const DIVIDE: &str = "@divide";
const REMAINDER: &str = "@remainder";
const LEAST: &str = "@least";
const GREATEST: &str = "@greatest";
const ABSOLUTE: &str = "@absolute";
const PRESENT: &str = "@present";
const TRUTH: &str = "@truth";

/// A condition for the interpreter.
#[derive(Clone)]
pub(crate) struct Interpreted {
    expr: IdedExpr,
    /// Slots by the number of the variable that stands for them.
    slots: Vec<u32>,
}

impl std::fmt::Debug for Interpreted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interpreted").field("slots", &self.slots).finish_non_exhaustive()
    }
}

impl Interpreted {
    /// Rewrites a condition, and tries it on a few rows so that what the interpreter cannot do is an
    /// error now and not a condition that never holds.
    pub fn new(parsed: &Parsed<'_>, names: &dyn Names) -> Result<Self, ExprError> {
        let mut rewriting = Rewriting { parsed, names, slots: Vec::new(), scopes: Vec::new() };
        let (expr, kind) = rewriting.any(&parsed.expr)?;
        let expr = rewriting.as_truth(&parsed.expr, expr, kind)?;
        let interpreted = Self { expr, slots: rewriting.slots };
        for value in [f32::NAN, 0.0, 1.0] {
            if let Err(message) = interpreted.evaluate(|_| value) {
                let at = parsed.at(&parsed.expr);
                return Err(ExprError::Unsupported { message, at });
            }
        }
        Ok(interpreted)
    }

    /// The slots that are read, in order of first use.
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// Whether the condition holds. What the interpreter cannot evaluate does not hold.
    pub fn holds(&self, load: impl Fn(u32) -> f32) -> bool {
        self.evaluate(load).unwrap_or(false)
    }

    fn evaluate(&self, load: impl Fn(u32) -> f32) -> Result<bool, String> {
        let variables = Variables {
            values: self
                .slots
                .iter()
                .map(|&slot| CelDouble::from(functions::loaded(load(slot))))
                .collect(),
        };
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(&variables);
        match Value::resolve(&self.expr, &context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("a condition that yields {}", other.type_of())),
            Err(ExecutionError::IndexOutOfBounds(_)) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The values of the referenced names, and of no others.
struct Variables {
    values: Vec<CelDouble>,
}

impl VariableResolver for Variables {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let index: usize = variable.strip_prefix('@')?.parse().ok()?;
        self.values.get(index).map(|value| CowVal::Borrowed(value))
    }
}

/// The functions that know about absence. Built once; it never changes.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let (one, two) = (1, 2);
    let functions: [(&str, usize, Function); 13] = [
        (Comparison::Less.function(), two, compare_less),
        (Comparison::LessEqual.function(), two, compare_less_equal),
        (Comparison::Greater.function(), two, compare_greater),
        (Comparison::GreaterEqual.function(), two, compare_greater_equal),
        (Comparison::Equal.function(), two, compare_equal),
        (Comparison::NotEqual.function(), two, compare_not_equal),
        (DIVIDE, two, |args| arithmetic(&args, divide)),
        (REMAINDER, two, |args| arithmetic(&args, remainder)),
        (LEAST, two, |args| arithmetic(&args, least)),
        (GREATEST, two, |args| arithmetic(&args, greatest)),
        (ABSOLUTE, one, |args| Ok(CowVal::owned(CelDouble::from(number(&args, 0)?.abs())))),
        (PRESENT, one, |args| Ok(CowVal::owned(CelBool::from(!number(&args, 0)?.is_nan())))),
        (TRUTH, one, |args| {
            let value = number(&args, 0)?;
            Ok(CowVal::owned(CelBool::from(!value.is_nan() && value != 0.0)))
        }),
    ];
    for (name, args_count, function) in functions {
        let types = (0..args_count).map(|_| DYN_TYPE).collect();
        // Names that start with `@` cannot be written in a condition, so none of them is taken.
        let added = env.add_overload(name, name, types, function);
        debug_assert!(added.is_ok(), "{name} is already declared");
    }
    Arc::new(env)
});

type Args<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Returned<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

macro_rules! comparison {
    ($name:ident, $comparison:expr) => {
        fn $name<'b, 'v>(args: Args<'b, 'v>) -> Returned<'b, 'v> {
            let holds = $comparison.holds(number(&args, 0)?, number(&args, 1)?);
            Ok(CowVal::owned(CelBool::from(holds)))
        }
    };
}
comparison!(compare_less, Comparison::Less);
comparison!(compare_less_equal, Comparison::LessEqual);
comparison!(compare_greater, Comparison::Greater);
comparison!(compare_greater_equal, Comparison::GreaterEqual);
comparison!(compare_equal, Comparison::Equal);
comparison!(compare_not_equal, Comparison::NotEqual);

fn arithmetic<'b, 'v>(args: &[CowVal<'_, '_>], operator: fn(f64, f64) -> f64) -> Returned<'b, 'v> {
    Ok(CowVal::owned(CelDouble::from(operator(number(args, 0)?, number(args, 1)?))))
}

/// An argument as a number; a truth value is 0 or 1.
fn number(args: &[CowVal<'_, '_>], index: usize) -> Result<f64, ExecutionError> {
    let value: &dyn Val = match args.get(index) {
        Some(value) => value.as_ref(),
        None => return Err(ExecutionError::missing_argument_or_target()),
    };
    if let Some(value) = value.downcast_ref::<CelDouble>() {
        return Ok(*value.inner());
    }
    if let Some(value) = value.downcast_ref::<CelBool>() {
        return Ok(f64::from(u8::from(*value.inner())));
    }
    if let Some(value) = value.downcast_ref::<CelInt>() {
        return Ok(*value.inner() as f64);
    }
    if let Some(value) = value.downcast_ref::<CelUInt>() {
        return Ok(*value.inner() as f64);
    }
    let found = value.get_type().name();
    Err(ExecutionError::function_error("comparison", format!("a {found} is not a number")))
}

/// What a rewritten node yields, as far as that is known before it runs.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Truth,
    Number,
    /// A name's value: true when present and not zero.
    Slot,
    /// A list, or a variable of a macro.
    Any,
}

struct Rewriting<'a> {
    parsed: &'a Parsed<'a>,
    names: &'a dyn Names,
    slots: Vec<u32>,
    /// Variables of the macros around the current node.
    scopes: Vec<Vec<String>>,
}

type Rewritten = Result<(IdedExpr, Kind), ExprError>;

fn call(func_name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let call = CallExpr { func_name: func_name.to_owned(), target: None, args };
    IdedExpr { id: 0, expr: Expr::Call(call) }
}

fn double(value: f64) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Double(CelDouble::from(value))) }
}

impl Rewriting<'_> {
    fn at(&self, expr: &IdedExpr) -> At {
        self.parsed.at(expr)
    }

    fn wrong_type<T>(&self, expr: &IdedExpr, message: &str) -> Result<T, ExprError> {
        Err(ExprError::WrongType { message: message.to_owned(), at: self.at(expr) })
    }

    fn unsupported<T>(&self, expr: &IdedExpr, message: &str) -> Result<T, ExprError> {
        Err(ExprError::Unsupported { message: message.to_owned(), at: self.at(expr) })
    }

    fn in_scope(&self, name: &str) -> bool {
        self.scopes.iter().flatten().any(|variable| variable == name)
    }

    /// The name that an expression spells, unless it starts with a variable of a macro.
    fn name(&self, expr: &IdedExpr) -> Option<String> {
        match parse::dotted_root(expr) {
            Some(root) if !self.in_scope(root) => parse::dotted(expr),
            _ => None,
        }
    }

    fn variable(&mut self, slot: u32) -> IdedExpr {
        let known = self.slots.iter().position(|&other| other == slot);
        let index = known.unwrap_or_else(|| {
            self.slots.push(slot);
            self.slots.len() - 1
        });
        IdedExpr { id: 0, expr: Expr::Ident(format!("@{index}")) }
    }

    fn meaning(&mut self, name: &str, at: At) -> Rewritten {
        Ok(match parse::resolve(name, at, self.names)? {
            Meaning::Slot(slot) => (self.variable(slot), Kind::Slot),
            Meaning::Constant(value) => (double(value), Kind::Number),
        })
    }

    fn truth(&mut self, expr: &IdedExpr) -> Result<IdedExpr, ExprError> {
        let (rewritten, kind) = self.any(expr)?;
        self.as_truth(expr, rewritten, kind)
    }

    fn as_truth(
        &self,
        expr: &IdedExpr,
        rewritten: IdedExpr,
        kind: Kind,
    ) -> Result<IdedExpr, ExprError> {
        match kind {
            Kind::Truth => Ok(rewritten),
            Kind::Slot | Kind::Any => Ok(call(TRUTH, vec![rewritten])),
            Kind::Number => self.wrong_type(expr, functions::NEEDS_TRUTH),
        }
    }

    fn number(&mut self, expr: &IdedExpr) -> Result<IdedExpr, ExprError> {
        match self.any(expr)? {
            (_, Kind::Truth) => self.wrong_type(expr, functions::NEEDS_NUMBER),
            (rewritten, _) => Ok(rewritten),
        }
    }

    fn any(&mut self, expr: &IdedExpr) -> Rewritten {
        if let Some(value) = parse::number(expr) {
            return Ok((double(value), Kind::Number));
        }
        if let Some(name) = self.name(expr)
            && !name.starts_with('@')
        {
            return self.meaning(&name, self.at(expr));
        }
        match &expr.expr {
            Expr::Ident(_) => Ok((expr.clone(), Kind::Any)),
            Expr::Literal(LiteralValue::Boolean(_)) => Ok((expr.clone(), Kind::Truth)),
            Expr::Literal(LiteralValue::String(_)) => self.wrong_type(expr, functions::TEXT_ALONE),
            Expr::Select(select) if select.test => {
                let Some(name) = self.name(&select.operand) else {
                    return self.unsupported(expr, "has() of anything but a name");
                };
                let name = format!("{name}.{}", select.field);
                let (value, _) = self.meaning(&name, self.at(expr))?;
                Ok((call(PRESENT, vec![value]), Kind::Truth))
            }
            Expr::List(list) => {
                if !list.optional_indices.is_empty() {
                    return self.unsupported(expr, "an optional element");
                }
                let mut list = list.clone();
                for element in &mut list.elements {
                    *element = self.any(element)?.0;
                }
                Ok((IdedExpr { id: expr.id, expr: Expr::List(list) }, Kind::Any))
            }
            Expr::Comprehension(comprehension) => self.comprehension(expr, comprehension),
            Expr::Call(call) => self.call(expr, call),
            Expr::Map(_) | Expr::Struct(_) => self.unsupported(expr, "a map"),
            Expr::Select(_) => self.unsupported(expr, "a field of anything but a name"),
            Expr::Literal(_) | Expr::Unspecified => self.unsupported(expr, "this literal"),
        }
    }

    fn comprehension(&mut self, expr: &IdedExpr, macro_: &ComprehensionExpr) -> Rewritten {
        if self.scopes.len() >= MACRO_NESTING_MAX {
            return self.unsupported(expr, "a macro inside two others");
        }
        let mut rewritten = macro_.clone();
        rewritten.iter_range = self.any(&macro_.iter_range)?.0;
        let (accu_init, kind) = self.any(&macro_.accu_init)?;
        rewritten.accu_init = accu_init;
        let mut variables = vec![macro_.iter_var.clone(), macro_.accu_var.clone()];
        variables.extend(macro_.iter_var2.clone());
        self.scopes.push(variables);
        let parts = (|| {
            Ok((
                self.any(&macro_.loop_cond)?.0,
                self.any(&macro_.loop_step)?.0,
                self.any(&macro_.result)?,
            ))
        })();
        self.scopes.pop();
        let (loop_cond, loop_step, (result, result_kind)) = parts?;
        rewritten.loop_cond = loop_cond;
        rewritten.loop_step = loop_step;
        rewritten.result = result;
        // `exists` and `all` end with what they started with: a truth value.
        let kind =
            if kind == Kind::Truth || result_kind == Kind::Truth { Kind::Truth } else { Kind::Any };
        Ok((IdedExpr { id: expr.id, expr: Expr::Comprehension(Box::new(rewritten)) }, kind))
    }

    fn call(&mut self, expr: &IdedExpr, written: &CallExpr) -> Rewritten {
        let name = written.func_name.as_str();
        if let Some(target) = &written.target {
            functions::check(name, written.args.len(), true, self.at(expr))?;
            return self.whole_to_double(name, target);
        }
        if let Some(comparison) = Comparison::of(name)
            && let [left, right] = written.args.as_slice()
        {
            return self.compare(comparison, left, right);
        }
        match (name, written.args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [left, right]) => {
                let (left, right) = (self.operand(left)?, self.operand(right)?);
                Ok((call(name, vec![left, right]), Kind::Truth))
            }
            (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, [operand]) => {
                Ok((call(name, vec![self.operand(operand)?]), Kind::Truth))
            }
            (operators::CONDITIONAL, [condition, yes, no]) => self.choose(condition, yes, no),
            (operators::IN, [value, list]) => self.one_of(value, list),
            (operators::NEGATE, [operand]) => {
                Ok((call(name, vec![self.number(operand)?]), Kind::Number))
            }
            (operators::INDEX, [list, index]) => {
                let list = self.any(list)?.0;
                // The one place where a whole number stays one.
                let index = match &index.expr {
                    Expr::Literal(LiteralValue::Int(_)) => index.clone(),
                    _ => call("int", vec![self.number(index)?]),
                };
                Ok((call(name, vec![list, index]), Kind::Any))
            }
            (functions::PRESENT, [operand]) => {
                Ok((call(PRESENT, vec![self.number(operand)?]), Kind::Truth))
            }
            (functions::ABSENT, [operand]) => {
                let present = call(PRESENT, vec![self.number(operand)?]);
                Ok((call(operators::LOGICAL_NOT, vec![present]), Kind::Truth))
            }
            (functions::ABS, [operand]) => {
                Ok((call(ABSOLUTE, vec![self.number(operand)?]), Kind::Number))
            }
            (functions::MIN, [first, rest @ ..]) => self.fold(LEAST, first, rest),
            (functions::MAX, [first, rest @ ..]) => self.fold(GREATEST, first, rest),
            (operators::DIVIDE, [left, right]) => self.binary(DIVIDE, left, right),
            (operators::MODULO, [left, right]) => self.binary(REMAINDER, left, right),
            (operators::ADD | operators::SUBSTRACT | operators::MULTIPLY, [left, right]) => {
                self.binary(name, left, right)
            }
            ("size" | "double" | "int", [operand]) => self.whole_to_double(name, operand),
            _ => {
                functions::check(name, written.args.len(), false, self.at(expr))?;
                self.unsupported(expr, "this operation")
            }
        }
    }

    /// Operands of `&&`, `||`, `!`: accumulators of macros stay as they are.
    fn operand(&mut self, expr: &IdedExpr) -> Result<IdedExpr, ExprError> {
        match &expr.expr {
            Expr::Ident(name) if name.starts_with('@') => Ok(expr.clone()),
            _ => self.truth(expr),
        }
    }

    /// `size`, `int` and `double`: all numbers of a condition are doubles.
    fn whole_to_double(&mut self, name: &str, operand: &IdedExpr) -> Rewritten {
        let inner = call(name, vec![self.any(operand)?.0]);
        Ok((call("double", vec![inner]), Kind::Number))
    }

    fn binary(&mut self, name: &str, left: &IdedExpr, right: &IdedExpr) -> Rewritten {
        let (left, right) = (self.number(left)?, self.number(right)?);
        Ok((call(name, vec![left, right]), Kind::Number))
    }

    fn fold(&mut self, name: &str, first: &IdedExpr, rest: &[IdedExpr]) -> Rewritten {
        let mut folded = self.number(first)?;
        for operand in rest {
            folded = call(name, vec![folded, self.number(operand)?]);
        }
        Ok((folded, Kind::Number))
    }

    fn choose(&mut self, condition: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Rewritten {
        let condition = self.truth(condition)?;
        let ((yes_expr, yes_kind), (no_expr, no_kind)) = (self.any(yes)?, self.any(no)?);
        let choose = |yes, no| call(operators::CONDITIONAL, vec![condition, yes, no]);
        if yes_kind == no_kind && yes_kind != Kind::Slot {
            return Ok((choose(yes_expr, no_expr), yes_kind));
        }
        // One of two names is no longer a name: literals beside it keep their precision.
        let names = yes_kind == Kind::Slot && no_kind == Kind::Slot;
        if names || yes_kind == Kind::Any || no_kind == Kind::Any {
            return Ok((choose(yes_expr, no_expr), Kind::Any));
        }
        if yes_kind == Kind::Truth || no_kind == Kind::Truth {
            let yes_expr = self.as_truth(yes, yes_expr, yes_kind)?;
            let no_expr = self.as_truth(no, no_expr, no_kind)?;
            return Ok((choose(yes_expr, no_expr), Kind::Truth));
        }
        Ok((choose(yes_expr, no_expr), Kind::Number))
    }

    fn compare(&mut self, comparison: Comparison, left: &IdedExpr, right: &IdedExpr) -> Rewritten {
        let (left, right) = match (parse::text(left), parse::text(right)) {
            (None, None) => {
                let (left_pair, right_pair) = (self.any(left)?, self.any(right)?);
                let truths = left_pair.1 == Kind::Truth || right_pair.1 == Kind::Truth;
                if truths && !comparison.is_equality() {
                    return self.wrong_type(left, functions::NEEDS_NUMBER);
                }
                same_precision(left_pair, right_pair)
            }
            (None, Some(value)) => self.text_pair(comparison, left, right, value)?,
            (Some(value), None) => self.text_pair(comparison, right, left, value)?,
            (Some(_), Some(_)) => return self.wrong_type(left, functions::TEXT_ALONE),
        };
        Ok((call(comparison.function(), vec![left, right]), Kind::Truth))
    }

    fn text_pair(
        &mut self,
        comparison: Comparison,
        name_expr: &IdedExpr,
        text_expr: &IdedExpr,
        value: &str,
    ) -> Result<(IdedExpr, IdedExpr), ExprError> {
        if !comparison.is_equality() {
            return self.wrong_type(text_expr, functions::TEXT_ORDER);
        }
        let Some(name) = self.name(name_expr) else {
            return self.wrong_type(text_expr, functions::TEXT_ALONE);
        };
        let (left, _) = self.any(name_expr)?;
        let number = parse::category(&name, value, self.at(text_expr), self.names)?;
        Ok((left, double(number)))
    }

    /// `x in [a, b]` as the disjunction of equalities, which is what it means; a list that is not
    /// written out stays with the interpreter.
    fn one_of(&mut self, value: &IdedExpr, list: &IdedExpr) -> Rewritten {
        let (value_expr, value_kind) = self.any(value)?;
        let Expr::List(elements) = &list.expr else {
            let list = self.any(list)?.0;
            return Ok((call(operators::IN, vec![value_expr, list]), Kind::Truth));
        };
        if !elements.optional_indices.is_empty() {
            return self.unsupported(list, "an optional element");
        }
        let mut rewritten = Vec::with_capacity(elements.elements.len());
        for element in &elements.elements {
            let pair = match parse::text(element) {
                Some(text) => {
                    let Some(name) = self.name(value) else {
                        return self.wrong_type(element, functions::TEXT_ALONE);
                    };
                    let number = parse::category(&name, text, self.at(element), self.names)?;
                    (double(number), Kind::Number)
                }
                None => self.any(element)?,
            };
            // Truth values among numbers are compared as numbers, as elsewhere.
            let (_, number) = same_precision((value_expr.clone(), value_kind), pair.clone());
            let number = if pair.1 == Kind::Truth { as_number(number) } else { number };
            rewritten.push(number);
        }
        let value_expr = if value_kind == Kind::Truth { as_number(value_expr) } else { value_expr };
        let list = cel::common::ast::ListExpr::new(rewritten);
        let list = IdedExpr { id: 0, expr: Expr::List(list) };
        Ok((call(operators::IN, vec![value_expr, list]), Kind::Truth))
    }
}

/// A truth value as 0 or 1.
fn as_number(truth: IdedExpr) -> IdedExpr {
    call(operators::CONDITIONAL, vec![truth, double(1.0), double(0.0)])
}

/// A literal that stands directly beside a name takes the precision of the row.
fn same_precision(left: (IdedExpr, Kind), right: (IdedExpr, Kind)) -> (IdedExpr, IdedExpr) {
    let rounded = |literal: IdedExpr| match &literal.expr {
        Expr::Literal(LiteralValue::Double(value)) => {
            double(parse::as_slot_precision(*value.inner()))
        }
        _ => literal,
    };
    match (left, right) {
        ((left, Kind::Slot), (right, _)) => (left, rounded(right)),
        ((left, _), (right, Kind::Slot)) => (rounded(left), right),
        ((left, _), (right, _)) => (left, right),
    }
}
