//! The interpreted form: what the compiled form has no operation for (lists held in hand, and the
//! macros `exists`, `all`, `filter`, `map` over them) runs in the `cel` crate's interpreter.
//!
//! The syntax tree is rewritten once, so that it means the same as the compiled form would: names
//! become variables by slot, whole numbers become doubles, and every operation that an absent value
//! changes (comparisons, `in`, division, remainder, minimum, maximum) becomes a call of a function that knows
//! about absence and precision. An evaluation costs 0.5 to 5 us and allocates.

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
const DECLARED: &str = "@declared";
const ONE_OF: &str = "@one_of";
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
    let functions: [(&str, usize, Function); 15] = [
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
        (DECLARED, two, |args| arithmetic(&args, functions::declared)),
        (ONE_OF, two, one_of),
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

/// Whether the first argument equals an element of the second, a list.
fn one_of<'b, 'v>(args: Args<'b, 'v>) -> Returned<'b, 'v> {
    let value = number(&args, 0)?;
    let list = args.get(1).ok_or_else(ExecutionError::missing_argument_or_target)?.as_ref();
    let Some(list) = list.as_iterable() else {
        let found = list.get_type().name();
        return Err(ExecutionError::function_error("in", format!("a {found} is not a list")));
    };
    let mut elements = list.iter();
    while let Some(element) = elements.next() {
        if Comparison::Equal.holds(value, number_of(element)?) {
            return Ok(CowVal::owned(CelBool::from(true)));
        }
    }
    Ok(CowVal::owned(CelBool::from(false)))
}

/// An argument as a number.
fn number(args: &[CowVal<'_, '_>], index: usize) -> Result<f64, ExecutionError> {
    let value = args.get(index).ok_or_else(ExecutionError::missing_argument_or_target)?;
    number_of(value.as_ref())
}

/// A value as a number; a truth value is 0 or 1.
fn number_of(value: &dyn Val) -> Result<f64, ExecutionError> {
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
enum Kind<'a> {
    Truth,
    Number,
    /// A name's value: true when present and not zero.
    Slot,
    /// A text, by its number among these.
    Category(&'a [String]),
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

type Rewritten<'a> = Result<(IdedExpr, Kind<'a>), ExprError>;

fn call(func_name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let call = CallExpr { func_name: func_name.to_owned(), target: None, args };
    IdedExpr { id: 0, expr: Expr::Call(call) }
}

fn double(value: f64) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Double(CelDouble::from(value))) }
}

impl<'a> Rewriting<'a> {
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

    fn meaning(&mut self, name: &str, at: At) -> Rewritten<'a> {
        Ok(match parse::resolve(name, at, self.names)? {
            Meaning::Slot(slot) => {
                let kind = self.names.values(name).map_or(Kind::Slot, Kind::Category);
                (self.variable(slot), kind)
            }
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
        kind: Kind<'_>,
    ) -> Result<IdedExpr, ExprError> {
        match kind {
            Kind::Category(_) => self.wrong_type(expr, functions::CATEGORY_ALONE),
            Kind::Truth => Ok(rewritten),
            Kind::Slot | Kind::Any => Ok(call(TRUTH, vec![rewritten])),
            Kind::Number => self.wrong_type(expr, functions::NEEDS_TRUTH),
        }
    }

    fn number(&mut self, expr: &IdedExpr) -> Result<IdedExpr, ExprError> {
        match self.any(expr)? {
            (_, Kind::Truth) => self.wrong_type(expr, functions::NEEDS_NUMBER),
            (_, Kind::Category(_)) => self.wrong_type(expr, functions::CATEGORY_ALONE),
            (rewritten, _) => Ok(rewritten),
        }
    }

    /// A number or a category: what can be present or absent.
    fn value(&mut self, expr: &IdedExpr) -> Result<IdedExpr, ExprError> {
        match self.any(expr)? {
            (_, Kind::Truth) => self.wrong_type(expr, functions::NEEDS_NUMBER),
            (rewritten, _) => Ok(rewritten),
        }
    }

    /// An element of a list: categories are not mixed with numbers.
    fn element(&mut self, expr: &IdedExpr) -> Rewritten<'a> {
        match self.any(expr)? {
            (_, Kind::Category(_)) => self.wrong_type(expr, functions::CATEGORY_ALONE),
            found => Ok(found),
        }
    }

    fn any(&mut self, expr: &IdedExpr) -> Rewritten<'a> {
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
                    *element = self.element(element)?.0;
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

    fn comprehension(&mut self, expr: &IdedExpr, macro_: &ComprehensionExpr) -> Rewritten<'a> {
        if self.scopes.len() >= MACRO_NESTING_MAX {
            return self.unsupported(expr, "a macro inside two others");
        }
        let mut rewritten = macro_.clone();
        rewritten.iter_range = self.element(&macro_.iter_range)?.0;
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

    fn call(&mut self, expr: &IdedExpr, written: &CallExpr) -> Rewritten<'a> {
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
                let list = self.element(list)?.0;
                // The one place where a whole number stays one.
                let index = match &index.expr {
                    Expr::Literal(LiteralValue::Int(_)) => index.clone(),
                    _ => call("int", vec![self.number(index)?]),
                };
                Ok((call(name, vec![list, index]), Kind::Any))
            }
            (functions::PRESENT, [operand]) => {
                Ok((call(PRESENT, vec![self.value(operand)?]), Kind::Truth))
            }
            (functions::ABSENT, [operand]) => {
                let present = call(PRESENT, vec![self.value(operand)?]);
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
    fn whole_to_double(&mut self, name: &str, operand: &IdedExpr) -> Rewritten<'a> {
        let inner = call(name, vec![self.element(operand)?.0]);
        Ok((call("double", vec![inner]), Kind::Number))
    }

    fn binary(&mut self, name: &str, left: &IdedExpr, right: &IdedExpr) -> Rewritten<'a> {
        let (left, right) = (self.number(left)?, self.number(right)?);
        Ok((call(name, vec![left, right]), Kind::Number))
    }

    fn fold(&mut self, name: &str, first: &IdedExpr, rest: &[IdedExpr]) -> Rewritten<'a> {
        let mut folded = self.number(first)?;
        for operand in rest {
            folded = call(name, vec![folded, self.number(operand)?]);
        }
        Ok((folded, Kind::Number))
    }

    fn choose(&mut self, condition: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Rewritten<'a> {
        let condition = self.truth(condition)?;
        let ((yes_expr, yes_kind), (no_expr, no_kind)) = (self.any(yes)?, self.any(no)?);
        let choose = |yes, no| call(operators::CONDITIONAL, vec![condition, yes, no]);
        match (yes_kind, no_kind) {
            (Kind::Category(values), Kind::Category(others)) if values == others => {}
            (Kind::Category(_), Kind::Category(_)) => {
                return self.wrong_type(no, functions::OTHER_VALUES);
            }
            (Kind::Category(_), _) => return self.wrong_type(yes, functions::CATEGORY_ALONE),
            (_, Kind::Category(_)) => return self.wrong_type(no, functions::CATEGORY_ALONE),
            _ => {}
        }
        if yes_kind == no_kind && yes_kind != Kind::Slot {
            return Ok((choose(yes_expr, no_expr), yes_kind));
        }
        // One of two names is no longer a name, but it can be true like one.
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

    fn compare(
        &mut self,
        comparison: Comparison,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Rewritten<'a> {
        // Text is the same on either side, so the category may stand on the left.
        let (left, right) = if parse::is_text(left) { (right, left) } else { (left, right) };
        let compare = |left, right| call(comparison.function(), vec![left, right]);
        if parse::is_text(right) {
            if parse::is_text(left) {
                return self.wrong_type(right, functions::TEXT_ALONE);
            }
            let (value, Kind::Category(values)) = self.any(left)? else {
                return self.wrong_type(right, functions::TEXT_ALONE);
            };
            if !comparison.is_equality() {
                return self.wrong_type(right, functions::TEXT_ORDER);
            }
            let text = self.text_of(left, values, right)?;
            return Ok((compare_texts(comparison, value, text, values), Kind::Truth));
        }
        let ((left_expr, left_kind), (right_expr, right_kind)) =
            (self.any(left)?, self.any(right)?);
        let compared = match (left_kind, right_kind) {
            (Kind::Category(_), Kind::Category(_)) if !comparison.is_equality() => {
                return self.wrong_type(left, functions::TEXT_ORDER);
            }
            (Kind::Category(values), Kind::Category(others)) if values == others => {
                compare_texts(comparison, left_expr, right_expr, values)
            }
            (Kind::Category(_), Kind::Category(_)) => {
                return self.wrong_type(right, functions::OTHER_VALUES);
            }
            (Kind::Category(_), _) => return self.wrong_type(left, functions::CATEGORY_ALONE),
            (_, Kind::Category(_)) => return self.wrong_type(right, functions::CATEGORY_ALONE),
            (Kind::Truth, _) | (_, Kind::Truth) if !comparison.is_equality() => {
                return self.wrong_type(left, functions::NEEDS_NUMBER);
            }
            _ => compare(left_expr, right_expr),
        };
        Ok((compared, Kind::Truth))
    }

    /// What is compared with a category (`of`): text, a category of the same values, or a choice of these.
    fn text_of(
        &mut self,
        of: &IdedExpr,
        values: &[String],
        expr: &IdedExpr,
    ) -> Result<IdedExpr, ExprError> {
        if let Some(text) = parse::text(expr) {
            return Ok(double(parse::category(of, values, text, self.at(expr))?));
        }
        if let Some([condition, yes, no]) = parse::choice(expr) {
            let condition = self.truth(condition)?;
            let (yes, no) = (self.text_of(of, values, yes)?, self.text_of(of, values, no)?);
            return Ok(call(operators::CONDITIONAL, vec![condition, yes, no]));
        }
        match self.any(expr)? {
            (rewritten, Kind::Category(others)) if values == others => Ok(rewritten),
            (_, Kind::Category(_)) => self.wrong_type(expr, functions::OTHER_VALUES),
            _ => self.wrong_type(expr, functions::CATEGORY_ALONE),
        }
    }

    fn one_of(&mut self, value: &IdedExpr, list: &IdedExpr) -> Rewritten<'a> {
        let (value_expr, value_kind) = self.any(value)?;
        let elements = match &list.expr {
            Expr::List(list) => &list.elements,
            _ if matches!(value_kind, Kind::Category(_)) => {
                return self.wrong_type(value, functions::CATEGORY_ALONE);
            }
            _ => {
                let list = self.element(list)?.0;
                return Ok((call(ONE_OF, vec![value_expr, list]), Kind::Truth));
            }
        };
        if matches!(&list.expr, Expr::List(list) if !list.optional_indices.is_empty()) {
            return self.unsupported(list, "an optional element");
        }
        let mut rewritten = Vec::with_capacity(elements.len());
        for element in elements {
            rewritten.push(match value_kind {
                Kind::Category(values) => {
                    let text = self.text_of(value, values, element)?;
                    declared(&value_expr, text, values)
                }
                _ if parse::is_text(element) => {
                    return self.wrong_type(element, functions::TEXT_ALONE);
                }
                _ => self.element(element)?.0,
            });
        }
        let list = cel::common::ast::ListExpr::new(rewritten);
        let list = IdedExpr { id: 0, expr: Expr::List(list) };
        Ok((call(ONE_OF, vec![value_expr, list]), Kind::Truth))
    }
}

/// Whether two texts are, or are not, the same. A value is the same as itself, declared or not.
fn compare_texts(
    comparison: Comparison,
    left: IdedExpr,
    right: IdedExpr,
    values: &[String],
) -> IdedExpr {
    let right = match comparison {
        // Of equal numbers `!=` does not hold in any case.
        Comparison::Equal => declared(&left, right, values),
        _ => right,
    };
    call(comparison.function(), vec![left, right])
}

/// What `left` is compared with for equality: texts that are not declared share a number, which must not make
/// them equal.
fn declared(left: &IdedExpr, right: IdedExpr, values: &[String]) -> IdedExpr {
    let is_itself = matches!((&left.expr, &right.expr), (Expr::Ident(left), Expr::Ident(right)) if left == right);
    if is_itself {
        return right;
    }
    call(DECLARED, vec![right, double(values.len() as f64)])
}
