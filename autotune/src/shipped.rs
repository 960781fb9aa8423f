//! The records that ship with this crate: every file under `records/`, embedded. A test keeps the list and the folder alike.

/// One embedded record file.
pub(crate) struct Shipped {
    /// Device class, the folder's name.
    pub device_class: &'static str,
    /// Kernel, the file's name.
    pub kernel: &'static str,
    /// Text of the file.
    pub json: &'static str,
}

/// Ordered by device class, then kernel.
pub(crate) const SHIPPED: &[Shipped] = &[
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "argmax",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/argmax.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "attention",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/attention.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "attention_decode",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/attention_decode.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "attention_paged",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/attention_paged.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "embedding",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/embedding.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "layer_norm",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/layer_norm.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "matmul",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/matmul.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "matmul_gated",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/matmul_gated.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "matmul_split",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/matmul_split.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "matvec",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/matvec.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "matvec_gated",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/matvec_gated.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "penalise",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/penalise.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "rms_norm",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/rms_norm.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "rms_norm_add",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/rms_norm_add.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "rms_norm_heads",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/rms_norm_heads.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "rope",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/rope.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "rope_table",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/rope_table.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "sample",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/sample.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "softmax",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/softmax.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "softmax_long",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/softmax_long.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "swiglu",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/swiglu.json"),
    },
    Shipped {
        device_class: "cpu-amd-25-17-avx512-2t",
        kernel: "top_k",
        json: include_str!("../records/cpu-amd-25-17-avx512-2t/top_k.json"),
    },
    Shipped {
        device_class: "cpu-amd-26-2-avx512-2t",
        kernel: "attention",
        json: include_str!("../records/cpu-amd-26-2-avx512-2t/attention.json"),
    },
    Shipped {
        device_class: "cpu-amd-26-2-avx512-2t",
        kernel: "attention_decode",
        json: include_str!("../records/cpu-amd-26-2-avx512-2t/attention_decode.json"),
    },
    Shipped {
        device_class: "cpu-amd-26-2-avx512-2t",
        kernel: "attention_paged",
        json: include_str!("../records/cpu-amd-26-2-avx512-2t/attention_paged.json"),
    },
    Shipped {
        device_class: "cpu-amd-26-2-avx512-2t",
        kernel: "embedding",
        json: include_str!("../records/cpu-amd-26-2-avx512-2t/embedding.json"),
    },
    Shipped {
        device_class: "cpu-amd-26-2-avx512-2t",
        kernel: "matmul",
        json: include_str!("../records/cpu-amd-26-2-avx512-2t/matmul.json"),
    },
    Shipped {
        device_class: "cpu-amd-26-2-avx512-2t",
        kernel: "matmul_gated",
        json: include_str!("../records/cpu-amd-26-2-avx512-2t/matmul_gated.json"),
    },
    Shipped {
        device_class: "cpu-amd-26-2-avx512-2t",
        kernel: "matvec",
        json: include_str!("../records/cpu-amd-26-2-avx512-2t/matvec.json"),
    },
    Shipped {
        device_class: "cpu-amd-26-2-avx512-2t",
        kernel: "matvec_gated",
        json: include_str!("../records/cpu-amd-26-2-avx512-2t/matvec_gated.json"),
    },
    Shipped {
        device_class: "cpu-amd-26-2-avx512-2t",
        kernel: "rms_norm",
        json: include_str!("../records/cpu-amd-26-2-avx512-2t/rms_norm.json"),
    },
    Shipped {
        device_class: "cpu-amd-26-2-avx512-2t",
        kernel: "softmax",
        json: include_str!("../records/cpu-amd-26-2-avx512-2t/softmax.json"),
    },
];
