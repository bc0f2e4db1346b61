//! Picking rows by number.

use danqing_kernels::elementwise::add_assign;
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, argument_error};
use crate::param::Param;
use crate::shape::Dims;
use crate::storage::dispatch;
use crate::tape::record;
use crate::tensor::Tensor;

fn check_ids(op: &'static str, ids: &[u32], size: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= size) {
        Some(id) => argument_error(op, format!("index {id} is not below {size}")),
        None => Ok(()),
    }
}

impl Tensor {
    /// The parts of dimension `dim` that `ids` names, in that order; an id may come more than once.
    ///
    /// # Errors
    /// If there is no such dimension or an id lies outside it.
    pub fn index_select(&self, dim: usize, ids: &[u32]) -> Result<Tensor> {
        if dim >= self.rank() {
            return argument_error("index_select", format!("shape {:?} has no dimension {dim}", self.shape()));
        }
        let size = self.dim(dim);
        check_ids("index_select", ids, size)?;
        let full = self.dims();
        let mut shape = full;
        shape[dim] = ids.len();
        shape.checked_numel("index_select")?;
        let inner: usize = full[dim + 1..].iter().product();
        let outer: usize = full[..dim].iter().product();
        let dense = self.dense();
        let out = dispatch!(dense.dtype(), E => {
            let values = dense.data::<E>();
            let mut out = PooledBuf::<E>::dirty(shape.numel());
            for o in 0..outer {
                for (i, &id) in ids.iter().enumerate() {
                    let (to, from) = ((o * ids.len() + i) * inner, (o * size + id as usize) * inner);
                    out[to..to + inner].copy_from_slice(&values[from..from + inner]);
                }
            }
            Tensor::wrap(out, shape)
        });
        Ok(record("index_select", out, &[self], &[], |_| {
            let ids = ids.to_vec();
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let mut dx = Tensor::zeros_dims(full, dy.dtype());
                dispatch!(dy.dtype(), E => {
                    let (values, sums) = (dy.data::<E>(), dx.data_mut::<E>());
                    for o in 0..outer {
                        for (i, &id) in ids.iter().enumerate() {
                            let (from, to) = ((o * ids.len() + i) * inner, (o * size + id as usize) * inner);
                            let from = &values[from..from + inner];
                            add_assign(from, &mut sums[to..to + inner]);
                        }
                    }
                });
                walk.add(0, dx)
            })
        }))
    }

    /// Rows of a table: element `i` of the result's leading shape `prefix` is row `ids[i]` of `table` `[rows, width]`.
    ///
    /// The result has the table's element type.
    ///
    /// # Errors
    /// If the table is not of rank two, an id is not a row, or `prefix` does not have `ids.len()` elements.
    pub fn embedding(table: &Param, ids: &[u32], prefix: &[usize]) -> Result<Tensor> {
        let [rows, width] = *table.shape() else {
            return argument_error("embedding", format!("`{}` {:?} is not [rows, width]", table.name(), table.shape()));
        };
        check_ids("embedding", ids, rows)?;
        let lead = Dims::new("embedding", prefix)?;
        if lead.checked_numel("embedding")? != ids.len() {
            return argument_error("embedding", format!("{} ids do not fill shape {prefix:?}", ids.len()));
        }
        let shape = Dims::new("embedding", &[prefix, &[width]].concat())?;
        let value = table.value();
        let out = dispatch!(value.dtype(), E => {
            let values = value.data::<E>();
            let mut out = PooledBuf::<E>::dirty(shape.numel());
            if width > 0 {
                for (out, &id) in out.chunks_exact_mut(width).zip(ids) {
                    out.copy_from_slice(&values[id as usize * width..][..width]);
                }
            }
            Tensor::wrap(out, shape)
        });
        Ok(record("embedding", out, &[], &[table], |_| {
            let (ids, table) = (ids.to_vec(), table.clone());
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                walk.param(&table, |sums, first| {
                    if first {
                        sums.fill(0.0);
                    }
                    dispatch!(dy.dtype(), E => {
                        for (row, &id) in dy.data::<E>().chunks_exact(width.max(1)).zip(&ids) {
                            let sums = &mut sums[id as usize * width..][..width];
                            sums.iter_mut().zip(row).for_each(|(s, &v)| *s += danqing_kernels::Element::to_f32(v));
                        }
                    });
                    Ok(())
                })
            })
        }))
    }
}
