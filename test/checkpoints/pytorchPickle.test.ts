/** Hostile and unusual pickles. Each is packed into an honest file. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { unpickle } from '../../src/checkpoints/containers/pytorch/pickle.js'
import type { ContainerTensor } from '../../src/checkpoints/containers/types.js'
import type { Fault } from '../../src/core/diagnostics.js'
import { memorySource, readPytorchHeader, refusesPytorch } from './helpers.js'
import {
  call,
  dict,
  EMPTY_DICT,
  EMPTY_LIST,
  EMPTY_TUPLE,
  global,
  int,
  ints,
  join,
  little,
  MARK,
  NONE,
  pickle,
  storage,
  string,
  tensor,
  torchLegacy,
  torchZip,
  tuple,
} from './pytorchFiles.js'

const read = async (bytes: Uint8Array): Promise<Map<string, ContainerTensor>> => {
  const { tensors } = await readPytorchHeader(memorySource(bytes, 'm.pt'))
  return new Map(tensors.map((entry) => [entry.name, entry]))
}
const names = async (bytes: Uint8Array): Promise<string[]> => [...(await read(bytes)).keys()]

const rebuild = (name: string): Uint8Array => global('torch._utils', name)
const system = call(global('os', 'system'), string('touch /tmp/terge-was-here'))

test('a call of os.system does nothing', async () => {
  assert.equal(await names(torchZip(dict({ a: tensor(), b: system }))), ['a'])
  assert.equal(await names(torchLegacy(dict({ a: tensor(), b: system }))), ['a'])
})

test('an error about a tensor that depends on an unknown global names the global', async () => {
  await refusesPytorch(torchZip(dict({ a: tensor({ storage: system }) })), 'unreadable-tensor', "'os.system'")
  await refusesPytorch(
    torchZip(dict({ a: call(rebuild('_rebuild_parameter'), system, 0x88) })),
    'unreadable-tensor',
    "'os.system'",
  )
  await refusesPytorch(
    torchZip(dict({ w: tensor(), q: call(rebuild('_rebuild_qtensor'), storage()) })),
    'unreadable-tensor',
    "'torch._utils._rebuild_qtensor'",
  )
  await refusesPytorch(
    torchZip(dict({ w: tensor(), q: call(global('my', 'Packed'), tensor()) })),
    'unreadable-tensor',
    "'my.Packed'",
  )
  await refusesPytorch(torchZip(dict({ w: tensor(), q: tuple(tensor()) })), 'unreadable-tensor', 'a list')
  await refusesPytorch(
    torchZip(dict({ w: tensor({ storage: storage({ type: ['torch', 'QInt8Storage'] }) }) })),
    'unreadable-tensor',
    "'torch.QInt8Storage'",
  )
})

test('names that are special in JavaScript are ordinary tensor names', async () => {
  const odd = ['__proto__', 'constructor', 'toString', '']
  assert.equal(
    await names(torchZip(dict({ ...Object.fromEntries(odd.slice(1).map((name) => [name, tensor()])) }))),
    odd.slice(1),
  )
  const proto = join(EMPTY_DICT, string('__proto__'), tensor(), 's')
  assert.equal(await names(torchZip(proto)), ['__proto__'])
  await refusesPytorch(
    torchZip(dict({ a: call(global('torch._utils', 'constructor')), b: call(rebuild('__proto__'), tensor()) })),
    'no-state-dict',
  )
  await refusesPytorch(
    torchZip(dict({ a: tensor({ storage: storage({ type: ['torch', 'constructorStorage'] }) }) })),
    'unreadable-tensor',
  )
  await refusesPytorch(torchZip(dict({ __metadata__: tensor() })), 'bad-tensor', 'reserved')
})

test('reads every form of tensor that PyTorch writes', async () => {
  const old = call(rebuild('_rebuild_tensor'), storage(), int(0), ints([6]), ints([1]))
  const args = [
    storage({ type: ['torch.storage', 'UntypedStorage'], length: 24 }),
    int(1),
    ints([4]),
    ints([1]),
    0x89,
    EMPTY_DICT,
  ] as const
  const untyped = call(rebuild('_rebuild_tensor_v3'), ...args, global('torch', 'float32'))
  const fp8 = call(rebuild('_rebuild_tensor_v3'), ...args, global('torch', 'float8_e4m3fn'))
  const size = call(global('torch', 'Size'), ints([3, 2]))
  const sized = call(rebuild('_rebuild_tensor_v2'), storage(), int(0), size, ints([1, 3]), 0x89, EMPTY_DICT)
  const state = call(rebuild('_rebuild_parameter_with_state'), tensor(), 0x88, EMPTY_DICT, EMPTY_DICT)
  const plainArgs = tuple(storage(), int(2), ints([2]), ints([2]), 0x89, EMPTY_DICT)
  const typed = call(
    global('torch._tensor', '_rebuild_from_type_v2'),
    rebuild('_rebuild_tensor_v2'),
    global('torch.nn.parameter', 'Parameter'),
    plainArgs,
    EMPTY_DICT,
  )
  const tensors = await read(
    torchZip(
      dict({
        old,
        untyped,
        fp8,
        sized,
        state,
        typed,
        cuda: tensor({ storage: storage({ type: ['torch.cuda', 'FloatStorage'] }) }),
      }),
    ),
  )
  const start = tensors.get('old')!.offset
  const at = (name: string) => {
    const { dtype, shape, offset, bytes, strides } = tensors.get(name)!
    return [dtype, shape.join(), offset - start, bytes, strides?.join()]
  }
  assert.equal(at('old'), ['F32', '6', 0, 24, undefined])
  assert.equal(at('untyped'), ['F32', '4', 4, 16, undefined])
  assert.equal(at('fp8'), ['F8_E4M3', '4', 1, 4, undefined])
  assert.equal(at('sized'), ['F32', '3,2', 0, 24, '1,3'])
  assert.equal(at('state'), ['F32', '2,3', 0, 24, undefined])
  assert.equal(at('typed'), ['F32', '2', 8, 12, '2'])
  assert.equal(at('cuda'), ['F32', '2,3', 0, 24, undefined])
})

test('refuses subclasses, lazy conjugates, unknown dtypes and custom state, and names them', async () => {
  const subclass = call(
    global('torch._tensor', '_rebuild_from_type_v2'),
    rebuild('_rebuild_tensor_v2'),
    global('torchao', 'Int4Tensor'),
    tuple(storage(), int(0), ints([6]), ints([1])),
    NONE,
  )
  await refusesPytorch(torchZip(dict({ a: tensor(), b: subclass })), 'unreadable-tensor', "'torchao.Int4Tensor'")
  const conj = call(
    rebuild('_rebuild_tensor_v2'),
    storage(),
    int(0),
    ints([6]),
    ints([1]),
    0x89,
    NONE,
    dict({ conj: 0x88 }),
  )
  await refusesPytorch(torchZip(dict({ a: conj })), 'unreadable-tensor', 'conjugated')
  const strange = call(
    rebuild('_rebuild_tensor_v3'),
    storage({ type: ['torch.storage', 'UntypedStorage'] }),
    int(0),
    ints([6]),
    ints([1]),
    0x89,
    NONE,
    global('torch', 'float4_e2m1fn_x2'),
  )
  await refusesPytorch(torchZip(dict({ a: strange })), 'unreadable-tensor', 'float4_e2m1fn_x2')
  await refusesPytorch(
    torchZip(dict({ a: join(tensor(), tuple(storage(), int(0)), 'b') })),
    'unreadable-tensor',
    'state',
  )
})

test('checks the numbers of a tensor against its storage', async () => {
  const bad = (options: Parameters<typeof tensor>[0], says = '', code = 'bad-tensor') =>
    refusesPytorch(torchZip(dict({ a: tensor(options) })), code, says)
  await bad({ shape: [2, 4], strides: [4, 1] }, 'ends at element 8')
  await bad({ offset: 1 }, 'ends at element 7')
  await bad({ offset: -1 })
  await bad({ strides: [-3, 1] })
  await bad({ shape: [2, -3] })
  await bad({ shape: [2] })
  await bad({ offset: 2n ** 62n })
  await bad({ shape: [2, 2], strides: [2 ** 52, 1] }, 'ends at')
  await bad({ shape: [2 ** 40, 2 ** 40], strides: [0, 0] }, '', 'shape-overflow')
  await bad({ shape: [2 ** 52, 2 ** 52, 0], strides: [1, 1, 1] }, '', 'shape-overflow')
  await bad({ shape: Array(65).fill(1), strides: Array(65).fill(1) })
  await bad({ shape: [2 ** 29], strides: [0] }, '', 'expansion')
  await bad({ storage: storage({ length: 7 }) }, 'claims 28 bytes')
  await bad({ storage: storage({ length: 2n ** 60n }) }, '', 'pickle-damaged')
  await bad({ storage: storage({ length: -1 }) }, '', 'pickle-damaged')
  await bad({ storage: storage({ key: '9' }) }, "'9'", 'missing-storage')
  await bad({ storage: storage({ key: '../version' }) }, '', 'missing-storage')
  await bad({ storage: storage({ type: ['torch.storage', 'UntypedStorage'] }) }, 'dtype')
})

test('reads empty, scalar and slightly expanded tensors', async () => {
  const tensors = await read(
    torchZip(
      dict({
        empty: tensor({ shape: [0, 5], strides: [5, 1], offset: 99 }),
        scalar: tensor({ shape: [], strides: [], offset: 5 }),
        ones: tensor({ shape: [1, 6, 1], strides: [77, 1, 88] }),
        wide: tensor({ shape: [1000, 6], strides: [0, 1] }),
      }),
    ),
  )
  const start = tensors.get('ones')!.offset
  assert.equal([tensors.get('empty')!.bytes, tensors.get('empty')!.offset], [0, start])
  assert.equal([tensors.get('scalar')!.bytes, tensors.get('scalar')!.offset], [4, start + 20])
  assert.is(tensors.get('ones')!.strides, undefined)
  assert.equal([tensors.get('wide')!.bytes, tensors.get('wide')!.strides], [24, [0, 1]])
})

test('reads storage views of early PyTorch releases', async () => {
  const view = (first: number, length: number) =>
    join(
      tuple(
        string('storage'),
        global('torch', 'FloatStorage'),
        string('0'),
        string('cpu'),
        int(6),
        tuple(string('v'), int(first), int(length)),
      ),
      'Q',
    )
  const tensors = await read(
    torchLegacy(dict({ a: tensor({ storage: view(2, 4), shape: [4], strides: [1] }), b: tensor() })),
  )
  assert.is(tensors.get('a')!.offset, tensors.get('b')!.offset + 8)
  await refusesPytorch(
    torchLegacy(dict({ a: tensor({ storage: view(2, 4), shape: [5], strides: [1] }) })),
    'bad-tensor',
    'storage has 4',
  )
  await refusesPytorch(
    torchLegacy(dict({ a: tensor({ storage: view(3, 4), shape: [1], strides: [1] }) })),
    'bad-tensor',
  )
})

test('finds the dictionary that holds the model', async () => {
  const model = dict({ w: tensor() })
  const optimizer = dict({ state: dict({ x: tensor() }) })
  const chosen = async (value: Uint8Array) => (await names(torchZip(value))).join()
  assert.is(await chosen(dict({ state_dict: model, optimizer, epoch: int(3) })), 'w')
  assert.is(await chosen(dict({ epoch: tensor({ shape: [], strides: [] }), model, ema: dict({ v: tensor() }) })), 'w')
  assert.is(await chosen(dict({ state_dict: dict({ model: dict({ module: model }) }) })), 'w')
  assert.is(await chosen(dict({ anything: model, args: system })), 'w')
  assert.is(
    await chosen(dict({ model: dict({ size: int(3) }), weights: model })),
    'w',
    'a wrapper without tensors is none',
  )
  const ordered = call(global('collections', 'OrderedDict'), tuple(tuple(string('w'), tensor())))
  assert.is(await chosen(ordered), 'w')
  const shared = join(EMPTY_DICT, MARK, string('a'), model, 'q', 1, string('b'), 'h', 1, 'u')
  assert.is(await chosen(shared), 'w', 'one dictionary under two names')
  const self = join(EMPTY_DICT, 'q', 0, MARK, string('w'), tensor(), string('model'), 'h', 0, string('x'), 'h', 0, 'u')
  assert.is(await chosen(self), 'w', 'a dictionary in itself')

  await refusesPytorch(
    torchZip(dict({ generator: model, discriminator: dict({ v: tensor() }) })),
    'ambiguous-state-dict',
    "'generator' (1), 'discriminator' (1)",
  )
  await refusesPytorch(torchZip(dict({ model, state_dict: dict({ v: tensor() }) })), 'ambiguous-state-dict')
  await refusesPytorch(torchZip(dict({ optimizer })), 'no-state-dict', "'optimizer'")
  await refusesPytorch(torchZip(EMPTY_DICT), 'no-state-dict', 'empty')
  await refusesPytorch(torchZip(tensor()), 'no-state-dict', 'single tensor')
  await refusesPytorch(torchZip(system), 'no-state-dict', "'os.system'")
  const object = join(global('my.models', 'Net'), EMPTY_TUPLE, 0x81, dict({ _parameters: dict({ w: tensor() }) }), 'b')
  await refusesPytorch(torchZip(object), 'no-state-dict', "'my.models.Net'")
  await refusesPytorch(torchZip(dict({ model: object })), 'no-state-dict', "'my.models.Net'")
  await refusesPytorch(torchZip(call(global('__torch__.net', 'Net'))), 'no-state-dict', 'TorchScript')
  await refusesPytorch(
    torchZip(join(EMPTY_DICT, int(1), tensor(), 's', string('a'), tensor(), 's')),
    'bad-tensor',
    'a number',
  )
})

test('an error about a damaged pickle has the position', async () => {
  const bad = (value: Uint8Array | string, says = '', code = 'pickle-damaged') =>
    refusesPytorch(torchZip(value), code, says)
  await bad('')
  await bad('0', 'mark')
  await bad('u', 'mark')
  await bad(join(string('a'), 'R'), 'tuple')
  await bad(join(string('a'), EMPTY_TUPLE, 'R'), 'not a class')
  await bad(join('h', 7), 'memo entry 7')
  await bad(join(EMPTY_LIST, string('a'), string('b'), 's'), 'dictionary')
  await bad(join(EMPTY_DICT, string('a'), 'a'), 'list')
  await bad(join(EMPTY_DICT, MARK, string('a'), 'u'), 'no value')
  await bad(join(int(1), EMPTY_DICT, 'b'), 'state')
  await bad(join(0x82, 1), '0x82')
  await bad(join(0x97), '0x97')
  await bad(join(0x80, 77), 'protocol')
  await bad(join(MARK, int(1), MARK, '000'), 'stack')
  await bad(join('X', little(0xffffffff, 4)), '', 'pickle-truncated')
  await bad(join(0x8d, little(2n ** 64n - 1n, 8)), '', 'pickle-truncated')
  await bad(join('ctorch'), '', 'pickle-truncated')
  await bad(global('a'.repeat(5000), 'b'), 'too long')
})

test('reads unusual values of every protocol', () => {
  const value = (body: Uint8Array | string) => unpickle(pickle(body), 0, 'm').value
  assert.equal(value("(lp0\nI01\naI00\naI-7\naL12L\naF-1.5\naS'a'\naVb\na"), [true, false, -7, 12, -1.5, 'a', 'b'])
  assert.equal(value('(dp0\nVx\nI1\ns'), new Map([['x', 1]]))
  assert.is(value(int(-1)), -1)
  assert.is(value(int(2n ** 62n)), 2n ** 62n)
  assert.is(value(join(0x8a, 0)), 0)
  assert.is(value(join('G', 0x3f, 0xf8, 0, 0, 0, 0, 0, 0)), 1.5)
  assert.equal(value(join(0x8c, 1, 'm', 0x94, 0x8c, 1, 'n', 0x93)), { kind: 'global', name: 'm.n' })
  assert.equal(value(join('(cm\nn\nI1\no')), { kind: 'opaque', name: 'm.n', parts: [[1]] })
  assert.equal(value(join('(I1\nim\nn\n')), { kind: 'opaque', name: 'm.n', parts: [[1]] })
  assert.equal(value(join(0x8f, MARK, int(1), 0x90)), { kind: 'opaque', name: 'set', parts: [1] })
  assert.equal(value(join('B', little(3, 4), 'abc')), { kind: 'opaque', name: 'bytes', parts: [] })
})

test('pickle bombs use little memory and time', async () => {
  const repeat = (count: number, part: Uint8Array | string) =>
    Buffer.alloc(count * Buffer.from(part as string).length, part as string)
  await refusesPytorch(torchZip(join(0x8b, little(50_000_000, 4), new Uint8Array(50_000_000))), 'no-state-dict')
  await refusesPytorch(torchZip(repeat(20_000_000, ']')), 'pickle-memory')
  /** Under a budget of a 64th of the usual one, so that the bombs can be small. */
  const explodes = (body: Uint8Array) => {
    try {
      unpickle(pickle(body), 0, 'm.pt', { budget: { left: 2 ** 23 } })
    } catch (error) {
      return assert.is((error as Fault).diagnostics[0]!.code, 'pickle-memory')
    }
    assert.unreachable('should have been too much')
  }
  explodes(repeat(600_000, '('))
  explodes(join(EMPTY_LIST, repeat(200_000, join(0x94))))
  // A dictionary made from one long list again and again.
  const pairs = join(EMPTY_LIST, 'q', 0, MARK, repeat(10_000, join('K', 1, 'N', 0x86)), 'e')
  explodes(join(global('collections', 'OrderedDict'), 'q', 1, pairs, repeat(1000, join('h', 1, 'h', 0, 0x85, 'R'))))
  // A list that doubles at each step.
  const doubling = join(EMPTY_LIST, 'q', 0, ...Array.from({ length: 200 }, () => join('h', 0, 'h', 0, 0x86, 'q', 0)))
  assert.equal(await names(torchZip(dict({ a: tensor(), b: doubling }))), ['a'])
  // Deeper than any recursion would get.
  const deep = join(EMPTY_LIST, repeat(300_000, EMPTY_LIST), repeat(300_000, 'a'))
  assert.equal(await names(torchZip(dict({ a: tensor(), b: deep }))), ['a'])
  const nested = join(repeat(20_000, join(EMPTY_DICT, string('model'))), EMPTY_DICT, repeat(20_000, 's'))
  await refusesPytorch(torchZip(nested), 'no-state-dict')
})

test('memo indices can be sparse or repeated', () => {
  const value = unpickle(
    pickle(
      join(
        EMPTY_LIST,
        'r',
        little(4_000_000_000, 4),
        MARK,
        'N',
        'q',
        0,
        'K',
        5,
        0x94,
        'K',
        6,
        'q',
        0,
        'j',
        little(4_000_000_000, 4),
        'h',
        0,
        'h',
        2,
        't',
      ),
    ),
    0,
    'm',
  ).value
  assert.equal((value as unknown[]).slice(0, 3), [null, 5, 6])
  assert.equal((value as unknown[]).slice(3), [[], 6, 5])
})

test.run()
