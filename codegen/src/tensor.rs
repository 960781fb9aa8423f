//! Typed handles to device memory, as the typed launchers take them.
//!
//! A handle is an address with extents and strides in elements; it borrows the memory for `'a`. The address may be one that
//! the host cannot read, so nothing here does.

use std::marker::PhantomData;

use crate::dsl::elem::Elem;
use crate::error::LaunchError;
use crate::ir::{MAX_RANK, ViewFacts};
use crate::launch::{Arg, ViewArg};

/// Memory that a kernel reads, as a strided array of rank `R`.
#[derive(Clone, Copy, Debug)]
pub struct TensorRef<'a, T, const R: usize> {
    ptr: *const T,
    dims: [usize; R],
    strides: [isize; R],
    memory: PhantomData<&'a [T]>,
}

/// Memory that a kernel writes, as a strided array of rank `R`.
#[derive(Debug)]
pub struct TensorMut<'a, T, const R: usize> {
    ptr: *mut T,
    dims: [usize; R],
    strides: [isize; R],
    memory: PhantomData<&'a mut [T]>,
}

/// The strides of a dense row-major array.
#[must_use]
pub fn row_major<const R: usize>(dims: [usize; R]) -> [isize; R] {
    let mut strides = [1; R];
    for axis in (1..R).rev() {
        strides[axis - 1] = strides[axis] * dims[axis] as isize;
    }
    strides
}

macro_rules! tensor {
    ($name:ident, $ptr:ty, $mutable:literal) => {
        impl<'a, T: Elem, const R: usize> $name<'a, T, R> {
            /// A handle from its parts: extents and strides in elements.
            ///
            /// # Safety
            /// Every element within the extents must lie in memory of the launching device that stays valid for `'a`, and a
            /// mutable handle must be the only one to it.
            #[must_use]
            #[expect(unsafe_code, reason = "the caller vouches for the memory")]
            pub const unsafe fn from_raw(ptr: $ptr, dims: [usize; R], strides: [isize; R]) -> Self {
                Self { ptr, dims, strides, memory: PhantomData }
            }

            /// Extent per axis, in elements.
            #[must_use]
            pub const fn dims(&self) -> [usize; R] {
                self.dims
            }

            /// Distance between neighbours per axis, in elements.
            #[must_use]
            pub const fn strides(&self) -> [isize; R] {
                self.strides
            }

            /// The address of element (0, 0, ...).
            #[must_use]
            pub const fn ptr(&self) -> $ptr {
                self.ptr
            }

            /// The same memory with axes `a` and `b` exchanged.
            ///
            /// # Panics
            /// If there is no such axis.
            #[must_use]
            pub const fn transposed(mut self, a: usize, b: usize) -> Self {
                self.dims.swap(a, b);
                self.strides.swap(a, b);
                self
            }

            /// The descriptor that a launch passes.
            #[must_use]
            pub fn view(&self) -> ViewArg {
                const { assert!(R <= MAX_RANK, "a view has at most 5 axes") };
                let mut arg = ViewArg {
                    ptr: self.ptr as *mut u8,
                    dtype: T::DTYPE,
                    rank: R as u8,
                    mutable: $mutable,
                    dims: [1; MAX_RANK],
                    strides: [0; MAX_RANK],
                };
                for axis in 0..R {
                    arg.dims[axis] = self.dims[axis] as i64;
                    arg.strides[axis] = self.strides[axis] as i64;
                }
                arg
            }

            /// The argument `argument` of `kernel`, checked against its declared facts.
            ///
            /// # Errors
            /// If a fact does not hold or an extent is over 2^31 - 1.
            pub fn arg(
                &self,
                kernel: &'static str,
                argument: &'static str,
                facts: ViewFacts,
            ) -> Result<Arg, LaunchError> {
                let view = self.view();
                check_view(kernel, argument, &view, facts)?;
                Ok(Arg::View(view))
            }
        }
    };
}
tensor!(TensorRef, *const T, false);
tensor!(TensorMut, *mut T, true);

impl<'a, T: Elem, const R: usize> TensorRef<'a, T, R> {
    /// A dense row-major array over host memory.
    ///
    /// # Errors
    /// If the slice does not have exactly as many elements as the extents say.
    pub fn from_slice(data: &'a [T], dims: [usize; R]) -> Result<Self, LaunchError> {
        check_length(data.len(), &dims)?;
        Ok(Self { ptr: data.as_ptr(), dims, strides: row_major(dims), memory: PhantomData })
    }
}

impl<'a, T: Elem, const R: usize> TensorMut<'a, T, R> {
    /// A dense row-major array over host memory.
    ///
    /// # Errors
    /// If the slice does not have exactly as many elements as the extents say.
    pub fn from_slice(data: &'a mut [T], dims: [usize; R]) -> Result<Self, LaunchError> {
        check_length(data.len(), &dims)?;
        Ok(Self { ptr: data.as_mut_ptr(), dims, strides: row_major(dims), memory: PhantomData })
    }

    /// A shorter borrow of the same memory, for several launches.
    #[must_use]
    pub const fn reborrow(&mut self) -> TensorMut<'_, T, R> {
        TensorMut { ptr: self.ptr, dims: self.dims, strides: self.strides, memory: PhantomData }
    }

    /// The same memory, given up for writing.
    #[must_use]
    pub const fn into_ref(self) -> TensorRef<'a, T, R> {
        TensorRef { ptr: self.ptr, dims: self.dims, strides: self.strides, memory: PhantomData }
    }

    /// The same memory, to read.
    #[must_use]
    pub const fn as_ref(&self) -> TensorRef<'_, T, R> {
        TensorRef { ptr: self.ptr, dims: self.dims, strides: self.strides, memory: PhantomData }
    }
}

impl<'a, T: Elem> TensorMut<'a, T, 1> {
    /// The first `at` elements, and those behind them.
    ///
    /// # Errors
    /// If there are not as many.
    pub fn split_at(self, at: usize) -> Result<(Self, Self), LaunchError> {
        let Self { ptr, dims: [len], strides, memory } = self;
        if at > len {
            return Err(LaunchError::SliceLength { dims: vec![at], expected: at, found: len });
        }
        let part = |ptr, len| Self { ptr, dims: [len], strides, memory };
        Ok((part(ptr, at), part(ptr.wrapping_offset(at as isize * strides[0]), len - at)))
    }

    /// The same elements in row-major order of other extents.
    ///
    /// # Errors
    /// If there are not exactly as many elements as the extents say.
    pub fn reshaped<const R: usize>(self, dims: [usize; R]) -> Result<TensorMut<'a, T, R>, LaunchError> {
        check_length(self.dims[0], &dims)?;
        let strides = row_major(dims).map(|stride| stride * self.strides[0]);
        Ok(TensorMut { ptr: self.ptr, dims, strides, memory: self.memory })
    }
}

fn check_length(found: usize, dims: &[usize]) -> Result<(), LaunchError> {
    let expected = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
    if found == expected {
        Ok(())
    } else {
        Err(LaunchError::SliceLength { dims: dims.to_vec(), expected, found })
    }
}

/// A scalar argument.
#[must_use]
pub fn scalar_arg<T: Elem>(x: T) -> Arg {
    Arg::Scalar(x.to_bits64())
}

/// Checks a view against what its kernel declares. The stride of an axis of extent 0 or 1 is never used, and so is free.
pub(crate) fn check_view(
    kernel: &'static str,
    argument: &'static str,
    view: &ViewArg,
    facts: ViewFacts,
) -> Result<(), LaunchError> {
    let rank = usize::from(view.rank);
    for (axis, &extent) in view.dims[..rank].iter().enumerate() {
        if extent > i64::from(i32::MAX) {
            return Err(LaunchError::TooLarge { kernel, argument, axis, extent });
        }
    }
    let Some(last) = rank.checked_sub(1) else { return Ok(()) };
    if facts.contiguous && view.strides[last] != 1 && view.dims[last] > 1 {
        return Err(LaunchError::NotContiguous { kernel, argument, stride: view.strides[last] });
    }
    let divisor = facts.divisible;
    let indivisible = |value: i64| value % i64::from(divisor) != 0;
    let error =
        |what: String, value: i64| Err(LaunchError::NotDivisible { kernel, argument, what, value, divisor });
    if divisor > 1 {
        let address = (view.ptr.addr() / view.dtype.size_bytes()) as i64;
        if indivisible(address) || !view.ptr.addr().is_multiple_of(view.dtype.size_bytes()) {
            return error("address".to_owned(), address);
        }
        if indivisible(view.dims[last]) {
            return error(format!("extent of axis {last}"), view.dims[last]);
        }
        for axis in 0..last {
            if view.dims[axis] > 1 && indivisible(view.strides[axis]) {
                return error(format!("stride of axis {axis}"), view.strides[axis]);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_checked_with_the_numbers() {
        let data = vec![0f32; 6 * 32];
        let x = TensorRef::from_slice(&data, [6, 32]).expect("the length should fit");
        let contiguous = ViewFacts { contiguous: true, divisible: 1 };
        assert!(x.arg("k", "x", contiguous).is_ok());
        let error =
            x.transposed(0, 1).arg("k", "x", contiguous).expect_err("a transposed view should be refused");
        assert_eq!(
            error.to_string(),
            "argument `x` of kernel `k` must be contiguous: the stride of its last axis is 32, not 1"
        );
        let y = TensorRef::from_slice(&data[..6 * 31], [6, 31]).expect("the length should fit");
        let error = y.arg("k", "y", ViewFacts { contiguous: false, divisible: 2 }).expect_err("31 is odd");
        assert!(error.to_string().contains("must be divisible by 2: its "), "{error}");
        assert!(TensorRef::from_slice(&data, [5, 32]).is_err());
    }

    #[test]
    fn extents_stay_within_32_bits() {
        #[expect(unsafe_code, reason = "nothing reads the memory")]
        // SAFETY: the handle is checked, not read.
        let x = unsafe { TensorRef::<f32, 1>::from_raw(std::ptr::null(), [1 << 31], [1]) };
        let error = x.arg("k", "x", ViewFacts::default()).expect_err("the extent should be refused");
        assert!(error.to_string().contains("extent 2147483648 of axis 0"), "{error}");
    }
}
