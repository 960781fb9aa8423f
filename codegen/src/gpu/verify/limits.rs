//! What the target can do: instructions, shared memory, warps and registers of roles.

use super::matrix::swizzle_span;
use super::{Node, Stage, Verifier};
use crate::gpu::ops::{MatrixOperand, Role, StmtKind};

/// Registers of a multiprocessor.
const REGISTER_FILE: u32 = 65536;
/// The most registers that a thread starts with: 255, in whole groups of 8.
const MOST_AT_ENTRY: u32 = 248;

impl Verifier<'_> {
    pub(super) fn limits(&mut self, body: &[Node<'_>]) {
        self.place = None;
        self.loc = body.first().map(|n| n.stmt.loc).unwrap_or_default();
        let func = self.func;
        if func.n_warps == 0 || func.n_warps > 32 {
            self.error(format!("a block has 1 to 32 warps, not {}", func.n_warps));
        }
        if func.cluster == 0 || func.cluster > 16 {
            self.error(format!("a cluster has 1 to 16 blocks, not {}", func.cluster));
        }
        if func.cluster > 1 && !self.target.has_tensor_copies() {
            self.error(format!("{} has no clusters of blocks", self.target));
        }
        if self.stage >= Stage::Placed {
            self.shared_memory();
        }
        self.abilities(body, true);
    }

    fn shared_memory(&mut self) {
        let func = self.func;
        if func.shared_bytes > self.target.limits().shared_per_block_bytes {
            self.error(format!(
                "{} bytes of shared memory are needed, and a block of {} has {}",
                func.shared_bytes,
                self.target,
                self.target.limits().shared_per_block_bytes
            ));
        }
        for (i, b) in func.buffers.iter().enumerate() {
            let name = self.show_buffer(crate::gpu::BufferId(i as u32));
            if b.align_bytes == 0 || !b.align_bytes.is_power_of_two() || b.offset_bytes % b.align_bytes != 0 {
                self.error(format!(
                    "{name} is at {}, which is no multiple of {}",
                    b.offset_bytes, b.align_bytes
                ));
            }
            if u64::from(b.offset_bytes) + u64::from(b.bytes()) > u64::from(func.shared_bytes)
                && self.is_used(i)
            {
                self.error(format!(
                    "{name} ends at {}, beyond the {} bytes of the block",
                    b.offset_bytes + b.bytes(),
                    func.shared_bytes
                ));
            }
        }
        for (i, b) in func.barriers.iter().enumerate() {
            let name = self.show_barrier(crate::gpu::BarrierId(i as u32));
            let (from, to) = (b.offset_bytes, b.offset_bytes + 8 * b.slots);
            if from % 8 != 0 || to > func.shared_bytes {
                self.error(format!(
                    "{name} is at {from}: mbarriers lie at multiples of 8 inside the block's memory"
                ));
            }
            for (j, other) in func.barriers.iter().enumerate().skip(i + 1) {
                if other.offset_bytes < to && from < other.offset_bytes + 8 * other.slots {
                    let other = self.show_barrier(crate::gpu::BarrierId(j as u32));
                    self.error(format!("{name} and {other} share bytes"));
                }
            }
            for (j, buffer) in func.buffers.iter().enumerate() {
                if self.is_used(j) && buffer.offset_bytes < to && from < buffer.offset_bytes + buffer.bytes()
                {
                    let other = self.show_buffer(crate::gpu::BufferId(j as u32));
                    self.error(format!("{name} and {other} share bytes"));
                }
            }
        }
    }

    /// Whether any statement names a buffer: one that nothing names has no place.
    fn is_used(&self, buffer: usize) -> bool {
        let b = &self.func.buffers[buffer];
        b.offset_bytes != 0 || b.bytes() <= self.func.shared_bytes
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other statements exist on every target")]
    fn abilities(&mut self, block: &[Node<'_>], is_top: bool) {
        for (i, node) in block.iter().enumerate() {
            self.at(node);
            let kind = &node.stmt.kind;
            let (word, has) = match kind {
                StmtKind::Wgmma { .. }
                | StmtKind::WgmmaFence
                | StmtKind::WgmmaCommit
                | StmtKind::WgmmaWait { .. } => ("warpgroup products", self.target.has_wgmma()),
                StmtKind::TmaLoad { .. } | StmtKind::TmaStore { .. } | StmtKind::WaitStores { .. } => {
                    ("tensor copies", self.target.has_tensor_copies())
                }
                StmtKind::ExpectBytes { .. } => {
                    ("mbarriers that count bytes", self.target.has_tensor_copies())
                }
                StmtKind::FenceAsync => ("fences of asynchronous copies", self.target.has_tensor_copies()),
                StmtKind::StoreMatrix { .. } => {
                    ("matrix stores to shared memory", self.target.has_tensor_copies())
                }
                StmtKind::GridWait | StmtKind::GridRelease => {
                    ("dependent launches", self.target.has_dependent_launches())
                }
                _ => ("", true),
            };
            if !has {
                self.error(format!("{} has no {word}", self.target));
            }
            self.alignment(kind);
            if let StmtKind::Roles(roles) = kind {
                let follows = &block[i + 1..];
                let ends = follows.iter().all(|n| matches!(n.stmt.kind, StmtKind::ClusterSync));
                if !is_top || !ends || follows.len() > 1 {
                    self.error(
                        "roles stand at the end of the kernel: nothing follows them but a cluster_sync",
                    );
                }
                self.roles(roles);
            }
            node.blocks.iter().for_each(|b| self.abilities(b, false));
        }
    }

    /// Buffers that the hardware's swizzle applies to start where its pattern does.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other statements do not touch swizzled buffers by hardware"
    )]
    fn alignment(&mut self, kind: &StmtKind) {
        let mut ids = Vec::new();
        match kind {
            StmtKind::TmaLoad { buffer, .. } | StmtKind::TmaStore { buffer, .. } => ids.push(*buffer),
            StmtKind::Wgmma { a, b, .. } => {
                for operand in [a, b] {
                    if let MatrixOperand::Shared { buffer, .. } = operand {
                        ids.push(*buffer);
                    }
                }
            }
            _ => {}
        }
        for id in ids {
            let b = &self.func.buffers[id.index()];
            let wanted = (8 * swizzle_span(b)).max(128);
            let panel = b.rows * b.pitch_bytes;
            if !b.align_bytes.is_multiple_of(wanted) || (b.panels > 1 && !panel.is_multiple_of(wanted)) {
                let name = self.show_buffer(id);
                self.error(format!(
                    "{name} is aligned to {} bytes and its panels are {panel} bytes long: the swizzle repeats every {wanted}",
                    b.align_bytes
                ));
            }
        }
    }

    fn roles(&mut self, roles: &[Role]) {
        let n_warps = self.func.n_warps;
        let mut taken = vec![None; n_warps as usize];
        for (i, role) in roles.iter().enumerate() {
            if role.active_warps == 0 || role.active_warps > role.n_warps {
                self.error(format!(
                    "role `{}` runs in {} of its {} warps",
                    role.name, role.active_warps, role.n_warps
                ));
            }
            for warp in role.first_warp..role.first_warp.saturating_add(role.n_warps.min(64)) {
                match taken.get_mut(warp as usize) {
                    None => {
                        return self.error(format!("role `{}` names warp {warp} of {n_warps}", role.name));
                    }
                    Some(Some(other)) => {
                        let other: &Role = &roles[*other];
                        return self
                            .error(format!("warp {warp} is in roles `{}` and `{}`", other.name, role.name));
                    }
                    Some(free) => *free = Some(i),
                }
            }
        }
        if let Some(warp) = taken.iter().position(Option::is_none) {
            self.error(format!("warp {warp} has no role"));
        }
        if roles.iter().any(|r| r.registers != 0) {
            self.registers(roles);
        }
    }

    fn registers(&mut self, roles: &[Role]) {
        if !self.target.has_wgmma() {
            return self.error(format!("{} cannot move registers between roles", self.target));
        }
        if self.func.min_blocks == 0 {
            self.error(
                "registers move between roles only when the number of blocks per multiprocessor is fixed",
            );
        }
        let threads = self.func.n_threads() * self.func.min_blocks.max(1);
        let at_entry = (REGISTER_FILE / threads / 8 * 8).min(MOST_AT_ENTRY);
        let mut sum = 0;
        for role in roles {
            let n = role.registers;
            if n == 0 {
                sum += at_entry * role.n_warps;
                continue;
            }
            if n % 8 != 0 || !(24..=256).contains(&n) {
                self.error(format!(
                    "role `{}` asks for {n} registers: multiples of 8 from 24 to 256 are possible",
                    role.name
                ));
            }
            if role.first_warp % 4 != 0 || role.n_warps % 4 != 0 {
                self.error(format!("role `{}` asks for registers and is no whole warpgroups", role.name));
            }
            if role.releases != (n < at_entry) {
                let word = if role.releases { "releases" } else { "takes" };
                self.error(format!(
                    "role `{}` {word} registers to have {n}, and {at_entry} are there at entry",
                    role.name
                ));
            }
            sum += n * role.n_warps;
        }
        let room = at_entry * self.func.n_warps;
        if sum > room {
            self.error(format!(
                "the roles ask for {} registers per thread of each 4 warps together, and {} are there: the block would wait \
                 forever",
                sum / 4,
                room / 4
            ));
        }
    }
}
