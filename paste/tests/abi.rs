//! ABI test: `paste/src/abi.rs` against `kernel/include/paste_abi.h`, compiled with `cc`.
//!
//! A C program that includes the header prints every size, offset and value; this file prints
//! the same lines from the mirror. What the header names and this file does not is an error, so
//! that nothing can be added to one side only.
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    mem::{offset_of, size_of},
    path::{Path, PathBuf},
    process::Command,
};

use paste_net::abi;

/// C expression -> value in the mirror.
type Values = BTreeMap<String, u64>;

/// `layout!(values, C name = Rust type { field, ... })`: the size and every offset.
macro_rules! layout {
    ($values:ident, $c:ident = $rust:ident { $($field:ident),* $(,)? }) => {
        let size = size_of::<abi::$rust>() as u64;
        $values.insert(concat!("sizeof(struct ", stringify!($c), ")").into(), size);
        $(
            let offset = offset_of!(abi::$rust, $field) as u64;
            let name = concat!("offsetof(struct ", stringify!($c), ", ", stringify!($field), ")");
            $values.insert(name.into(), offset);
        )*
    };
}

/// Constants that bear the same name on both sides.
macro_rules! constants {
    ($values:ident: $($name:ident),* $(,)?) => {
        $($values.insert(stringify!($name).into(), u64::try_from(abi::$name).unwrap());)*
    };
}

fn requests(values: &mut Values) {
    layout!(
        values,
        nmreq_header =
            NmreqHeader { nr_version, nr_reqtype, nr_reserved, nr_name, nr_options, nr_body }
    );
    layout!(values, nmreq_option = NmreqOption { nro_next, nro_reqtype, nro_status, nro_size });
    layout!(
        values,
        nmreq_register = NmreqRegister {
            nr_offset,
            nr_memsize,
            nr_tx_slots,
            nr_rx_slots,
            nr_tx_rings,
            nr_rx_rings,
            nr_host_tx_rings,
            nr_host_rx_rings,
            nr_mem_id,
            nr_ringid,
            nr_mode,
            nr_extra_bufs,
            nr_flags,
        }
    );
    layout!(
        values,
        nmreq_port_info_get = NmreqPortInfoGet {
            nr_memsize,
            nr_tx_slots,
            nr_rx_slots,
            nr_tx_rings,
            nr_rx_rings,
            nr_host_tx_rings,
            nr_host_rx_rings,
            nr_mem_id,
            pad,
        }
    );
    layout!(values, nmreq_vale_attach = NmreqValeAttach { reg, port_index, pad1 });
    layout!(values, nmreq_vale_detach = NmreqValeDetach { port_index, pad1 });
    layout!(values, nmreq_pst_fd = NmreqPstFd { fd, pad });
}

fn options(values: &mut Values) {
    layout!(
        values,
        nmreq_pools_info = NmreqPoolsInfo {
            nr_memsize,
            nr_mem_id,
            pad1,
            nr_if_pool_offset,
            nr_if_pool_objtotal,
            nr_if_pool_objsize,
            nr_ring_pool_offset,
            nr_ring_pool_objtotal,
            nr_ring_pool_objsize,
            nr_buf_pool_offset,
            nr_buf_pool_objtotal,
            nr_buf_pool_objsize,
        }
    );
    layout!(values, nmreq_opt_extmem = NmreqOptExtmem { nro_opt, nro_usrptr, nro_info });
    layout!(
        values,
        nmreq_opt_offsets = NmreqOptOffsets {
            nro_opt,
            nro_max_offset,
            nro_initial_offset,
            nro_offset_bits,
            nro_tx_align,
            nro_min_gap,
        }
    );
    layout!(values, paste_opt_reserve = PasteOptReserve { nro_opt, bitmap, bits });
    layout!(values, paste_opt_kernel_rings = PasteOptKernelRings { nro_opt, rings_size });
}

fn shared_memory(values: &mut Values) {
    layout!(values, netmap_slot = NetmapSlot { buf_idx, len, flags, ptr });
    layout!(
        values,
        netmap_ring = NetmapRing {
            buf_ofs,
            num_slots,
            nr_buf_size,
            ringid,
            dir,
            head,
            cur,
            tail,
            flags,
            ts_sec,
            ts_usec,
            offset_mask,
            buf_align,
            pad,
            sem,
            slot,
        }
    );
    layout!(
        values,
        netmap_if = NetmapIf {
            ni_name,
            ni_version,
            ni_flags,
            ni_tx_rings,
            ni_rx_rings,
            ni_bufs_head,
            ni_host_tx_rings,
            ni_host_rx_rings,
            ni_spare,
            ring_ofs,
        }
    );
    constants!(values: NS_BUF_CHANGED, NS_REPORT, NS_FORWARD, NS_NO_LEARN, NS_INDIRECT,
        NS_MOREFRAG, PST_OFFSET_BITS, PST_OFFSET_MASK, PST_FD_SHIFT, PST_FD_MASK, PST_DOFF_SHIFT,
        PST_DOFF_MASK, NR_TIMESTAMP, NR_FORWARD, NI_PRIV_MEM);
    constants!(values: NS_PST_KEEP, PST_EVENT_SHIFT, PST_EVENT_MASK, PST_ERRNO_SHIFT,
        PST_ERRNO_MASK, PST_EVENT_END, PST_EVENT_RESET, PST_EVENT_SEND_FAILED);
}

fn numbers(values: &mut Values) {
    constants!(values: NETMAP_API, NETMAP_MIN_API, NETMAP_MAX_API, NETMAP_REQ_IFNAMSIZ,
        NETMAP_REQ_MAXSIZE, NIOCCTRL, NIOCTXSYNC, NIOCRXSYNC);
    constants!(values: NETMAP_REQ_REGISTER, NETMAP_REQ_PORT_INFO_GET, NETMAP_REQ_VALE_ATTACH,
        NETMAP_REQ_VALE_DETACH, NETMAP_REQ_VALE_LIST, NETMAP_REQ_PORT_HDR_SET,
        NETMAP_REQ_PORT_HDR_GET, NETMAP_REQ_VALE_NEWIF, NETMAP_REQ_VALE_DELIF,
        NETMAP_REQ_VALE_POLLING_ENABLE, NETMAP_REQ_VALE_POLLING_DISABLE,
        NETMAP_REQ_POOLS_INFO_GET, NETMAP_REQ_SYNC_KLOOP_START, NETMAP_REQ_SYNC_KLOOP_STOP,
        NETMAP_REQ_CSB_ENABLE, NETMAP_REQ_PST_ATTACH, NETMAP_REQ_PST_DETACH,
        NETMAP_REQ_PST_FD_REG, PASTE_REQ_FD_UNREG);
    constants!(values: NETMAP_REQ_OPT_EXTMEM, NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS,
        NETMAP_REQ_OPT_CSB, NETMAP_REQ_OPT_SYNC_KLOOP_MODE, NETMAP_REQ_OPT_OFFSETS,
        PASTE_REQ_OPT_RESERVE, PASTE_REQ_OPT_KERNEL_RINGS);
    constants!(values: NR_REG_DEFAULT, NR_REG_ALL_NIC, NR_REG_SW, NR_REG_NIC_SW, NR_REG_ONE_NIC,
        NR_REG_PIPE_MASTER, NR_REG_PIPE_SLAVE, NR_REG_NULL, NR_REG_ONE_SW, NR_MONITOR_TX,
        NR_MONITOR_RX, NR_ZCOPY_MON, NR_EXCLUSIVE, NR_RX_RINGS_ONLY, NR_TX_RINGS_ONLY,
        NR_ACCEPT_VNET_HDR, NR_DO_RX_POLL, NR_NO_TX_POLL, PASTE_NR_EVENTS);
}

fn mirror() -> Values {
    let mut values = Values::new();
    requests(&mut values);
    options(&mut values);
    shared_memory(&mut values);
    numbers(&mut values);
    values
}

fn header() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel/include/paste_abi.h")
}

/// What the header makes of the same expressions.
fn compiled(expressions: &Values) -> Values {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("abi.c"), folder.path().join("abi"));
    let mut text = String::from("#include <stddef.h>\n#include <stdio.h>\n");
    writeln!(text, "#include \"{}\"\nint main(void)\n{{", header().display()).unwrap();
    for expression in expressions.keys() {
        writeln!(text, "printf(\"%llu\\n\", (unsigned long long)({expression}));").unwrap();
    }
    text.push_str("return 0;\n}\n");
    fs::write(&source, text).unwrap();
    let mut compile = Command::new("cc");
    compile.args(["-Wall", "-Werror", "-o"]).args([&program, &source]);
    assert!(compile.status().expect("cc is installed").success(), "the header compiles");
    let output = String::from_utf8(Command::new(program).output().unwrap().stdout).unwrap();
    let values = output.lines().map(|line| line.parse().unwrap());
    expressions.keys().cloned().zip(values).collect()
}

#[test]
fn sizes_offsets_and_values_are_those_of_the_header() {
    let ours = mirror();
    assert_eq!(compiled(&ours), ours);
}

/// Names in the header: constants, structures, and `structure.field`.
fn named(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut structure = None;
    for line in text.lines().map(str::trim_start) {
        let word = |at: usize| line.split_whitespace().nth(at).unwrap_or_default();
        if word(0) == "#define" && !word(2).is_empty() {
            names.insert(word(1).into());
        } else if word(0) == "struct" && word(2) == "{" {
            structure = Some(word(1).to_string());
        } else if line.starts_with("};") {
            structure = None;
        } else if word(1) == "=" {
            names.insert(word(0).into());
        } else if let (Some(structure), Some((fields, _))) = (&structure, line.split_once(';')) {
            let fields = fields.strip_prefix("struct ").unwrap_or(fields);
            let (_, fields) = fields.split_once(' ').unwrap();
            names.extend(fields.split(',').map(|field| {
                let field = field.trim().split('[').next().unwrap();
                format!("offsetof(struct {structure}, {field})")
            }));
        }
    }
    names
}

#[test]
fn everything_that_the_header_names_is_mirrored() {
    let named = named(&fs::read_to_string(header()).unwrap());
    assert!(named.len() > 150, "{} names found", named.len());
    let ours: BTreeSet<String> = mirror().into_keys().collect();
    let missing: Vec<_> = named.difference(&ours).collect();
    assert_eq!(missing, ["PASTE_DEVICE_PATH"], "a string, compared below");
    let text = fs::read_to_string(header()).unwrap();
    assert!(text.contains(&format!("#define PASTE_DEVICE_PATH \"{}\"", abi::PASTE_DEVICE_PATH)));
}
