//! The stack machine. No allocation, no panic, no loop: every step goes forward.

use super::Comparison;
use super::compile::{Op, STACK_MAX};
use super::functions::{declared, divide, greatest, least, loaded, remainder};
use super::lower::Arithmetic;

/// Most programs need no more than this; the small stack costs less to clear.
const STACK_SMALL: usize = 16;

/// Runs a program over the values that `load` gives, and says whether the condition holds. About 1 ns
/// per step.
#[inline]
pub(crate) fn run(ops: &[Op], stack_depth: usize, load: impl Fn(u32) -> f32) -> bool {
    if let [Op::SlotCompare(slot, comparison, value)] = ops {
        return comparison.holds_exactly(loaded(load(*slot)), f64::from(*value));
    }
    let top = if stack_depth <= STACK_SMALL {
        run_with::<STACK_SMALL>(ops, load)
    } else {
        run_with::<STACK_MAX>(ops, load)
    };
    top != 0.0 && !top.is_nan()
}

/// `DEPTH` is a power of two, so that masking the index proves it in bounds to the compiler; the
/// compiler of conditions guarantees that no program needs more.
fn run_with<const DEPTH: usize>(ops: &[Op], load: impl Fn(u32) -> f32) -> f64 {
    const { assert!(DEPTH.is_power_of_two()) };
    let mask = DEPTH - 1;
    let mut stack = [0.0_f64; DEPTH];
    // Index of the next free place.
    let mut next: usize = 0;
    let mut at = 0;
    while let Some(op) = ops.get(at) {
        at += 1;
        let top = next.wrapping_sub(1) & mask;
        let below = next.wrapping_sub(2) & mask;
        match *op {
            Op::Slot(slot) => {
                stack[next & mask] = loaded(load(slot));
                next = next.wrapping_add(1);
            }
            Op::Constant(value) => {
                stack[next & mask] = value;
                next = next.wrapping_add(1);
            }
            Op::SlotCompare(slot, comparison, value) => {
                let holds = comparison.holds_exactly(loaded(load(slot)), f64::from(value));
                stack[next & mask] = truth(holds);
                next = next.wrapping_add(1);
            }
            Op::Compare(comparison) => {
                stack[below] = truth(comparison.holds(stack[below], stack[top]));
                next = next.wrapping_sub(1);
            }
            Op::Arithmetic(operator) => {
                let (left, right) = (stack[below], stack[top]);
                stack[below] = match operator {
                    Arithmetic::Add => left + right,
                    Arithmetic::Subtract => left - right,
                    Arithmetic::Multiply => left * right,
                    Arithmetic::Divide => divide(left, right),
                    Arithmetic::Remainder => remainder(left, right),
                };
                next = next.wrapping_sub(1);
            }
            Op::Least => {
                stack[below] = least(stack[below], stack[top]);
                next = next.wrapping_sub(1);
            }
            Op::Greatest => {
                stack[below] = greatest(stack[below], stack[top]);
                next = next.wrapping_sub(1);
            }
            Op::Negate => stack[top] = -stack[top],
            Op::Absolute => stack[top] = stack[top].abs(),
            Op::Not => stack[top] = truth(stack[top] == 0.0),
            Op::Declared(count) => stack[top] = declared(stack[top], f64::from(count)),
            Op::Present => stack[top] = truth(!stack[top].is_nan()),
            Op::Truth => stack[top] = truth(!stack[top].is_nan() && stack[top] != 0.0),
            Op::OneOf => {
                let value = stack[next.wrapping_sub(3) & mask];
                let found = stack[below] != 0.0 || Comparison::Equal.holds(value, stack[top]);
                stack[below] = truth(found);
                next = next.wrapping_sub(1);
            }
            Op::Found => {
                stack[below] = stack[top];
                next = next.wrapping_sub(1);
            }
            Op::AndJump(target) => {
                if stack[top] == 0.0 {
                    at = target as usize;
                } else {
                    next = next.wrapping_sub(1);
                }
            }
            Op::OrJump(target) => {
                if stack[top] != 0.0 {
                    at = target as usize;
                } else {
                    next = next.wrapping_sub(1);
                }
            }
            Op::ElseJump(target) => {
                if stack[top] == 0.0 {
                    at = target as usize;
                }
                next = next.wrapping_sub(1);
            }
            Op::Jump(target) => at = target as usize,
        }
    }
    stack[next.wrapping_sub(1) & mask]
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}
