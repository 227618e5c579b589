/**
 * Each preset on a small model that the real library stored in both forms: read in the other form, it has the other side's
 * tensors with their bytes, and read back its own.
 */
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { convertTensors } from '../../src/layouts/convert.js'
import { FAMILIES, layoutName } from '../../src/layouts/index.js'
import { formIn, isDeclared } from '../../src/layouts/recognise.js'
import type { Tensors } from '../../src/layouts/types.js'
import { layoutOf, opened, readTensors, sameTensors } from '../support/layouts.js'
import { fixture } from '../support/terge.js'

interface Row {
  /** Folder in test/fixtures/layouts. */
  readonly fixture: string
  /** By folder or file in it: the layouts that the model in it has, in the order of the families. */
  readonly sides: Readonly<Record<string, readonly string[]>>
  /** Tensors that only one side has, and that the other has no place for. By side. */
  readonly only?: Readonly<Record<string, readonly string[]>>
}

/** Sorted by fixture, one per line. */
const ROWS: readonly Row[] = [
  {
    fixture: 'aria',
    sides: {
      released: ['aria-text/released', 'llava/released'],
      v5: ['aria-text/transformers-5', 'llava/transformers-5'],
    },
  },
  { fixture: 'axk1', sides: { released: ['axk1/released'], v5: ['axk1/transformers-5'] } },
  { fixture: 'axk2', sides: { released: ['axk2/released'], v5: ['axk2/transformers-5'] } },
  { fixture: 'baichuan', sides: { fused: ['baichuan/fused'], parts: ['baichuan/parts'] } },
  {
    fixture: 'bert_gamma',
    sides: { released: ['layer-norm/gamma-beta', 'bert/prefixed'], v5: ['layer-norm/weight-bias', 'bert/plain'] },
  },
  { fixture: 'bloom', sides: { fused: ['bloom/fused'], parts: ['bloom/parts'] } },
  { fixture: 'chatglm', sides: { fused: ['chatglm/fused'], parts: ['chatglm/parts'] } },
  { fixture: 'chatglm1', sides: { fused: ['chatglm1/fused'], parts: ['chatglm1/parts'] } },
  { fixture: 'clip_text', sides: { released: ['clip-text/prefixed'], v5: ['clip-text/plain'] } },
  { fixture: 'codegen', sides: { fused: ['codegen/fused'], parts: ['codegen/parts'] } },
  { fixture: 'dbrx', sides: { fused: ['dbrx/fused'], parts: ['dbrx/parts'] } },
  { fixture: 'deepseek_v3', sides: { released: ['qwen2-moe/released'], v5: ['qwen2-moe/transformers-5'] } },
  { fixture: 'dinov2', sides: { released: ['dinov2/released'], v5: ['dinov2/transformers-5'] } },
  { fixture: 'ernie4_5_moe', sides: { released: ['ernie4.5-moe/released'], v5: ['ernie4.5-moe/transformers-5'] } },
  { fixture: 'exaone_moe', sides: { released: ['exaone-moe/released'], v5: ['exaone-moe/transformers-5'] } },
  { fixture: 'falcon_40b', sides: { fused: ['falcon/fused'], parts: ['falcon/parts'] } },
  { fixture: 'falcon_7b', sides: { fused: ['falcon/fused'], parts: ['falcon/parts'] } },
  { fixture: 'falcon_rw', sides: { fused: ['falcon/fused'], parts: ['falcon/parts'] } },
  { fixture: 'flux', sides: { 'original.safetensors': ['flux/original'], diffusers: ['flux/diffusers'] } },
  {
    fixture: 'gemma3_hub',
    sides: {
      released: ['llava/released', 'vision-tower/released'],
      v5: ['llava/transformers-5', 'vision-tower/transformers-5'],
    },
  },
  { fixture: 'gpt2_conv1d', sides: { fused: ['gpt2/conv1d'], parts: ['gpt2/linear'] } },
  { fixture: 'gpt_bigcode', sides: { fused: ['gpt-bigcode/fused'], parts: ['gpt-bigcode/parts'] } },
  { fixture: 'gpt_bigcode_heads', sides: { fused: ['gpt-bigcode/fused'], parts: ['gpt-bigcode/parts'] } },
  { fixture: 'gpt_neox', sides: { released: ['gpt-neox-head/released'], v5: ['gpt-neox-head/transformers-5'] } },
  { fixture: 'gpt_neox_qkv', sides: { fused: ['gpt-neox-qkv/fused'], parts: ['gpt-neox-qkv/parts'] } },
  { fixture: 'gpt_oss_experts', sides: { fused: ['gpt-oss/fused'], parts: ['gpt-oss/parts'] } },
  { fixture: 'granitemoe', sides: { released: ['granitemoe/released'], v5: ['granitemoe/transformers-5'] } },
  { fixture: 'gte', sides: { released: ['gte/released'], v5: ['gte/transformers-5'] } },
  { fixture: 'gte_head', sides: { released: ['gte/released'], v5: ['gte/transformers-5'] } },
  { fixture: 'hy_v3', sides: { released: ['hy-v3/released'], v5: ['hy-v3/transformers-5'] } },
  { fixture: 'inkling', sides: { released: ['inkling/released'], v5: ['inkling/transformers-5'] } },
  { fixture: 'internlm2', sides: { fused: ['internlm2/fused'], parts: ['internlm2/parts'] } },
  { fixture: 'jamba', sides: { released: ['jamba/released'], v5: ['jamba/transformers-5'] } },
  {
    fixture: 'kimi_k25',
    sides: {
      released: ['qwen2-moe/released', 'kimi-k25/released'],
      v5: ['qwen2-moe/transformers-5', 'kimi-k25/transformers-5'],
    },
  },
  { fixture: 'laguna', sides: { released: ['laguna/released'], v5: ['laguna/transformers-5'] } },
  { fixture: 'lfm2_moe', sides: { released: ['lfm2-moe/released'], v5: ['lfm2-moe/transformers-5'] } },
  {
    fixture: 'jina_embeddings_v3',
    sides: { released: ['jina-embeddings-v3/released'], v5: ['jina-embeddings-v3/transformers-5'] },
  },
  { fixture: 'llama4_experts', sides: { fused: ['llama4/fused'], parts: ['llama4/parts'] } },
  { fixture: 'mimo_v2_flash', sides: { released: ['mimo-v2-flash/released'], v5: ['mimo-v2-flash/transformers-5'] } },
  { fixture: 'minimax_m2', sides: { released: ['mixtral/released'], v5: ['mixtral/transformers-5'] } },
  { fixture: 'mixtral', sides: { released: ['mixtral/released'], v5: ['mixtral/transformers-5'] } },
  { fixture: 'mpt', sides: { fused: ['mpt/fused'], parts: ['mpt/parts'] } },
  { fixture: 'nemotron_h', sides: { released: ['nemotron-h/released'], v5: ['nemotron-h/transformers-5'] } },
  {
    fixture: 'nomic_bert',
    sides: { released: ['nomic-bert/released'], v5: ['nomic-bert/transformers-5'] },
  },
  { fixture: 'persimmon', sides: { fused: ['persimmon/fused'], parts: ['persimmon/parts'] } },
  { fixture: 'phi3', sides: { fused: ['phi3/fused'], parts: ['phi3/parts'] } },
  { fixture: 'phimoe', sides: { released: ['phimoe/released'], v5: ['phimoe/transformers-5'] } },
  { fixture: 'qwen', sides: { fused: ['qwen/fused'], parts: ['qwen/parts'] } },
  { fixture: 'qwen2_5_vl', sides: { released: ['qwen2-vl/released'], v5: ['qwen2-vl/transformers-5'] } },
  { fixture: 'qwen3_moe', sides: { released: ['qwen2-moe/released'], v5: ['qwen2-moe/transformers-5'] } },
  {
    fixture: 'qwen3_vl_moe',
    sides: {
      released: ['qwen3-vl-moe/released'],
      v5: ['qwen3-vl-moe/transformers-5'],
      parts: ['qwen3-vl-moe/parts'],
    },
  },
  {
    fixture: 'qwen3_vl_moe_square',
    sides: {
      released: ['qwen3-vl-moe/released'],
      v5: ['qwen3-vl-moe/transformers-5'],
      parts: ['qwen3-vl-moe/parts'],
    },
  },
  { fixture: 'step3p7', sides: { released: ['step3p7/released'], v5: ['step3p7/transformers-5'] } },
  { fixture: 'vit', sides: { released: ['vit/released'], v5: ['vit/transformers-5'] } },
  { fixture: 'weight_norm', sides: { old: ['weight-norm/weight-g-v'], new: ['weight-norm/parametrizations'] } },
]

for (const { fixture: name, sides, only = {} } of ROWS)
  for (const [side, layouts] of Object.entries(sides))
    for (const [other, wanted] of Object.entries(sides)) {
      if (side === other) continue
      test(`${name}: ${layouts} as ${wanted}, and back`, async () => {
        const folder = path.join(fixture('layouts'), name)
        const [model, base] = await Promise.all([opened(path.join(folder, side)), opened(path.join(folder, other))])
        const { config = base.config } = model

        // Recognised by itself, with the configuration of either side.
        const found: string[] = []
        for (const family of FAMILIES) {
          if (!family.byNames && !isDeclared(family, model.config) && !isDeclared(family, base.config)) continue
          const form = formIn(family, { config, shapes: model.tensors })
          if (typeof form !== 'string') found.push(layoutName({ family, form }))
        }
        for (const layout of layouts) assert.ok(found.includes(layout), `${side} is ${found}`)

        const convert = (tensors: Tensors, from: readonly string[], to: readonly string[]): Tensors => {
          let read = tensors
          for (const [index, layout] of from.entries()) {
            const [own, target] = [layoutOf(layout).form, layoutOf(to[index]!).form]
            const made = convertTensors(read, own, target, { config, shapes: read })
            assert.equal(made.problems, [])
            assert.equal([...made.left].sort(), [...(only[side] ?? [])].sort())
            read = made.tensors
          }
          return read
        }
        const there = convert(model.tensors, layouts, wanted)
        const missing = new Set(only[other] ?? [])
        const rest = new Map([...base.tensors].filter(([name]) => !missing.has(name)))
        sameTensors(await readTensors(model, there), await readTensors(base, rest), `${side} as ${other}`)
        const left = new Set(only[side] ?? [])
        const kept = new Map([...model.tensors].filter(([name]) => !left.has(name)))
        const back = convert(there, wanted, layouts)
        sameTensors(await readTensors(model, back), await readTensors(model, kept), `${side} and back`)
      })
    }

test.run()
