//! From the typed tree to a program for a stack machine.

use super::Comparison;
use super::functions::compared;
use super::lower::{Arithmetic, Node};

/// Deepest stack that a program may need. The guard's caps keep programs far below it.
pub(crate) const STACK_MAX: usize = 256;

/// One step. Jumps are forward only, so a program ends after at most as many steps as it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    /// Push a value of the row.
    Slot(u32),
    /// Push a number.
    Constant(f64),
    /// Push whether a value of the row compares with a number: most conditions are made of these.
    SlotCompare(u32, Comparison, f32),
    /// Pop two, push whether they compare.
    Compare(Comparison),
    /// Pop two, push the result.
    Arithmetic(Arithmetic),
    /// Pop two, push the smaller.
    Least,
    /// Pop two, push the greater.
    Greatest,
    /// Replace the top by its negative.
    Negate,
    /// Replace the top by its absolute value.
    Absolute,
    /// Replace the top, a category's number, by absence unless it is below this count of declared values.
    Declared(u32),
    /// Replace the top by whether it is false.
    Not,
    /// Replace the top by whether it is present.
    Present,
    /// Replace the top by whether it is present and not zero.
    Truth,
    /// Pop an element; the top says whether the value below it was among the elements so far.
    OneOf,
    /// Pop what `OneOf` found and the value below it, push the former.
    Found,
    /// Jump when the top is false, keeping it; otherwise pop it.
    AndJump(u32),
    /// Jump when the top is true, keeping it; otherwise pop it.
    OrJump(u32),
    /// Pop; jump when it was false.
    ElseJump(u32),
    /// Jump.
    Jump(u32),
}

/// A program and the deepest stack that it needs.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub ops: Vec<Op>,
    pub stack_depth: usize,
}

/// Compiles a tree. O(nodes).
pub(crate) fn compile(node: &Node) -> Compiled {
    let mut compiled = Compiled { ops: Vec::new(), stack_depth: 0 };
    compiled.emit(node, 0);
    compiled
}

impl Compiled {
    /// Appends the steps of a node that starts with `depth` values on the stack and ends with one more.
    fn emit(&mut self, node: &Node, depth: usize) {
        self.stack_depth = self.stack_depth.max(depth + 1);
        match node {
            Node::Slot(slot) => self.ops.push(Op::Slot(*slot)),
            Node::Constant(value) => self.ops.push(Op::Constant(*value)),
            Node::Negate(operand) => self.unary(operand, depth, Op::Negate),
            Node::Absolute(operand) => self.unary(operand, depth, Op::Absolute),
            Node::Declared(operand, count) => self.unary(operand, depth, Op::Declared(*count)),
            Node::Not(operand) => self.unary(operand, depth, Op::Not),
            Node::Present(operand) => self.unary(operand, depth, Op::Present),
            Node::Truth(operand) => self.unary(operand, depth, Op::Truth),
            Node::Arithmetic(operator, left, right) => {
                self.binary(left, right, depth, Op::Arithmetic(*operator));
            }
            Node::Compare(comparison, left, right) => {
                let direct = match (left.as_ref(), right.as_ref()) {
                    (Node::Slot(slot), Node::Constant(value)) => {
                        narrow(*value).map(|value| Op::SlotCompare(*slot, *comparison, value))
                    }
                    (Node::Constant(value), Node::Slot(slot)) => narrow(*value)
                        .map(|value| Op::SlotCompare(*slot, comparison.mirrored(), value)),
                    _ => None,
                };
                match direct {
                    Some(op) => self.ops.push(op),
                    None => self.binary(left, right, depth, Op::Compare(*comparison)),
                }
            }
            Node::Least(operands) => self.fold(operands, depth, Op::Least),
            Node::Greatest(operands) => self.fold(operands, depth, Op::Greatest),
            Node::OneOf(value, elements) => {
                self.emit(value, depth);
                self.stack_depth = self.stack_depth.max(depth + 2);
                self.ops.push(Op::Constant(0.0));
                for element in elements {
                    self.emit(element, depth + 2);
                    self.ops.push(Op::OneOf);
                }
                self.ops.push(Op::Found);
            }
            Node::And(left, right) => self.short(left, right, depth, Op::AndJump),
            Node::Or(left, right) => self.short(left, right, depth, Op::OrJump),
            Node::Choose(condition, yes, no) => {
                self.emit(condition, depth);
                let to_else = self.hole();
                self.emit(yes, depth);
                let to_end = self.hole();
                self.fill(to_else, Op::ElseJump);
                self.emit(no, depth);
                self.fill(to_end, Op::Jump);
            }
        }
    }

    fn unary(&mut self, operand: &Node, depth: usize, op: Op) {
        self.emit(operand, depth);
        self.ops.push(op);
    }

    fn binary(&mut self, left: &Node, right: &Node, depth: usize, op: Op) {
        self.emit(left, depth);
        self.emit(right, depth + 1);
        self.ops.push(op);
    }

    fn fold(&mut self, operands: &[Node], depth: usize, op: Op) {
        for (index, operand) in operands.iter().enumerate() {
            self.emit(operand, depth + usize::from(index > 0));
            if index > 0 {
                self.ops.push(op);
            }
        }
    }

    fn short(&mut self, left: &Node, right: &Node, depth: usize, jump: fn(u32) -> Op) {
        self.emit(left, depth);
        let over = self.hole();
        self.emit(right, depth);
        self.fill(over, jump);
    }

    /// A place for a jump whose target is not known yet.
    fn hole(&mut self) -> usize {
        self.ops.push(Op::Jump(0));
        self.ops.len() - 1
    }

    fn fill(&mut self, hole: usize, jump: fn(u32) -> Op) {
        let target = self.ops.len() as u32;
        if let Some(op) = self.ops.get_mut(hole) {
            *op = jump(target);
        }
    }
}

/// A number as it is compared, if 32 bits hold that.
fn narrow(value: f64) -> Option<f32> {
    let narrow = compared(value) as f32;
    (f64::from(narrow).to_bits() == compared(value).to_bits()).then_some(narrow)
}
