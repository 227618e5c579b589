/** Layouts of diffusion models: whole pipelines, modules alone, names of old versions, and tensors without a place. */
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Checkpoint } from '../../src/checkpoints/types.js'
import { convertTensors } from '../../src/layouts/convert.js'
import { FAMILIES, layoutName } from '../../src/layouts/index.js'
import { formIn } from '../../src/layouts/recognise.js'
import type { Converted, Tensors } from '../../src/layouts/types.js'
import { type DiffusionKind, diffusionModel, moduleOf, type RawTensors, writePipeline } from '../support/diffusion.js'
import { f32, i64, inFolder, writeModel } from '../support/files.js'
import { layoutOf, opened, readTensors, sameTensors } from '../support/layouts.js'
import { fixture } from '../support/terge.js'

const found = ({ tensors: shapes, config }: Pick<Checkpoint, 'tensors' | 'config'>): string[] =>
  FAMILIES.filter(({ byNames }) => byNames).flatMap((family) => {
    const form = formIn(family, { config, shapes })
    return typeof form === 'string' ? [] : [layoutName({ family, form })]
  })

const converted = (tensors: Tensors, from: string, to: string): Converted =>
  convertTensors(tensors, layoutOf(from).form, layoutOf(to).form, { config: undefined, shapes: tensors })

/** Opens these tensors as a file. */
async function asFile<T>(tensors: RawTensors, work: (model: Checkpoint) => Promise<T>): Promise<T> {
  return inFolder(async (folder) => {
    const file = path.join(folder, 'model.safetensors')
    writeModel(file, tensors)
    return work(await opened(file))
  })
}

/** Asserts that tensors read in another layout are the wanted ones, and read back the same. */
async function bothWays(model: RawTensors, from: string, wanted: RawTensors, to: string): Promise<void> {
  await asFile(model, async (one) => {
    assert.equal(found(one), [from])
    const there = converted(one.tensors, from, to)
    assert.equal([there.problems, there.left], [[], []])
    sameTensors(await readTensors(one, there.tensors), wanted, `${from} as ${to}`)
    const back = converted(there.tensors, to, from)
    assert.equal([back.problems, back.left], [[], []])
    sameTensors(await readTensors(one, back.tensors), model, `${from} and back`)
  })
}

const renamed = (tensors: RawTensors, from: RegExp, to: string): RawTensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name.replace(from, to), tensor]))

/** Names of the VAE's attention before diffusers 0.15. */
function oldNames(tensors: RawTensors): RawTensors {
  const named = { to_q: 'query', to_k: 'key', to_v: 'value', 'to_out.0': 'proj_attn' }
  let old = tensors
  for (const [name, to] of Object.entries(named))
    old = renamed(old, new RegExp(`(coder\\.mid_block\\.attentions\\.0\\.)${name}\\.`), `$1${to}.`)
  return old
}

for (const kind of ['sd15', 'sdxl'] as const satisfies readonly DiffusionKind[]) {
  const { diffusers, original } = diffusionModel(kind)

  test(`${kind}: an original file as a pipeline, and back`, () =>
    bothWays(original, `${kind}/original`, diffusers, `${kind}/diffusers`))

  test(`${kind}: a pipeline as an original file, from a folder`, async () => {
    await inFolder(async (folder) => {
      writePipeline(folder, kind, diffusers)
      const model = await opened(folder)
      assert.equal(found(model), [`${kind}/diffusers`])
      const made = converted(model.tensors, `${kind}/diffusers`, `${kind}/original`)
      assert.equal([made.problems, made.left], [[], []])
      sameTensors(await readTensors(model, made.tensors), original, kind)
    })
  })

  test(`${kind}: UNets alone, under each prefix`, async () => {
    const prefix = 'model.diffusion_model.'
    const bare = moduleOf(original, prefix)
    const ofFile = renamed(bare, /^/, prefix)
    const alone = moduleOf(diffusers, 'unet.')
    await bothWays(alone, `${kind}/unet`, ofFile, `${kind}/original`)
    await bothWays(bare, `${kind}/unet-original`, alone, `${kind}/unet`)
    await bothWays(bare, `${kind}/unet-original`, renamed(alone, /^/, 'unet.'), `${kind}/diffusers`)
  })

  test(`${kind}: names of the VAE in old versions of diffusers`, async () => {
    const old = oldNames(diffusers)
    assert.ok(old['vae.decoder.mid_block.attentions.0.proj_attn.weight'])
    await bothWays(old, `${kind}/diffusers-old`, original, `${kind}/original`)
    await bothWays(old, `${kind}/diffusers-old`, diffusers, `${kind}/diffusers`)
  })

  test(`${kind}: what diffusers has no place for is left and named`, async () => {
    const only = {
      ...{ betas: f32([3], [1, 2, 3]), alphas_cumprod_prev: f32([3], [1, 2, 3]), v_pred: f32([0], []) },
      'model_ema.diffusion_modelout2weight': f32([1], [1]),
      'cond_stage_model.transformer.text_model.embeddings.position_ids': i64([1, 2], [0n, 1n]),
      'conditioner.embedders.1.model.logit_scale': f32([], [1]),
      'model.diffusion_model.input_blocks.1.7.weight': f32([1], [1]),
    }
    await asFile({ ...original, ...only }, async (model) => {
      assert.equal(found(model), [`${kind}/original`])
      const made = converted(model.tensors, `${kind}/original`, `${kind}/diffusers`)
      assert.equal(made.problems, [])
      assert.equal([...made.left].sort(), Object.keys(only).sort())
      sameTensors(await readTensors(model, made.tensors), diffusers, kind)
    })
  })

  test(`${kind}: a VAE alone`, async () => {
    const [ofFile, alone] = [moduleOf(original, 'first_stage_model.'), moduleOf(diffusers, 'vae.')]
    await bothWays(ofFile, 'sd-vae/original', alone, 'sd-vae/diffusers')
    await bothWays(oldNames(alone), 'sd-vae/diffusers-old', ofFile, 'sd-vae/original')
  })
}

/** Tensors whose names match, with those names changed. */
const chosen = (tensors: RawTensors, names: RegExp, from: RegExp, to: string): RawTensors =>
  renamed(Object.fromEntries(Object.entries(tensors).filter(([name]) => names.test(name))), from, to)

/** The tables have no Stable Diffusion 2 and no refiner, but all of their parts. */
test('sd2: the UNet of sd15 with matrices, and the text encoder of OpenCLIP', async () => {
  const [old, xl] = [diffusionModel('sd15'), diffusionModel('sdxl')]
  const asMatrices = (tensors: RawTensors): RawTensors =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, tensor]) =>
        /\.proj_(in|out)\.weight$/.test(name) && !/attn_1/.test(name)
          ? [name, { ...tensor, shape: tensor.shape.slice(0, 2) }]
          : [name, tensor],
      ),
    )
  const diffusers = {
    ...chosen(asMatrices(old.diffusers), /^(unet|vae)\./, /^$/, ''),
    ...chosen(xl.diffusers, /^text_encoder_2\.text_model\./, /^text_encoder_2/, 'text_encoder'),
  }
  const original = {
    ...chosen(asMatrices(old.original), /^(model|first_stage_model)\./, /^$/, ''),
    ...chosen(xl.original, /^conditioner\.embedders\.1\.model\.(?!text_p)/, /^.*?\.1\./, 'cond_stage_model.'),
  }
  await bothWays(original, 'sd2/original', diffusers, 'sd2/diffusers')

  const last = 'cond_stage_model.model.transformer.resblocks.23.ln_1.weight'
  const projection = 'cond_stage_model.model.text_projection'
  const whole = { ...original, [last]: f32([1], [1]), [projection]: f32([1, 1], [1]) }
  await asFile(whole, async (model) => {
    assert.equal(found(model), ['sd2/original'])
    const { left, problems } = converted(model.tensors, 'sd2/original', 'sd2/diffusers')
    assert.equal([problems, [...left].sort()], [[], [projection, last]])
  })
})

test('sdxl-refiner: four levels, attention in the middle ones', async () => {
  const [old, xl] = [diffusionModel('sd15'), diffusionModel('sdxl')]
  const diffusers = {
    ...chosen(old.diffusers, /^unet\.(?!(down_blocks\.0|up_blocks\.3)\.attentions)|^vae\./, /^$/, ''),
    ...chosen(xl.diffusers, /^unet\.add_embedding|^text_encoder_2\./, /^$/, ''),
  }
  const attention = /^model\.diffusion_model\.(input_blocks\.[12]|output_blocks\.(9|10|11))\.1\./
  const original = {
    ...chosen(old.original, new RegExp(`^(?!${attention.source.slice(1)})(model|first_stage_model)\\.`), /^$/, ''),
    ...chosen(xl.original, /label_emb/, /^$/, ''),
    ...chosen(xl.original, /^conditioner\.embedders\.1\./, /embedders\.1/, 'embedders.0'),
  }
  await bothWays(original, 'sdxl-refiner/original', diffusers, 'sdxl-refiner/diffusers')
})

test('a VAE with another number of levels is not recognized', async () => {
  const { diffusers, original } = diffusionModel('sd15')
  const without = (tensors: RawTensors, level: RegExp): RawTensors =>
    Object.fromEntries(Object.entries(tensors).filter(([name]) => !level.test(name)))
  for (const model of [without(original, /decoder\.up\.3\./), without(diffusers, /decoder\.up_blocks\.3\./)])
    await asFile(model, async (one) => assert.equal(found(one), []))
})

test('a part that is missing is an error', async () => {
  const { diffusers } = diffusionModel('sdxl')
  const { 'text_encoder_2.text_model.encoder.layers.1.self_attn.k_proj.bias': _, ...rest } = diffusers
  await asFile(rest, async (model) => {
    const { problems } = converted(model.tensors, 'sdxl/diffusers', 'sdxl/original')
    assert.equal(problems, [
      {
        tensor: 'conditioner.embedders.1.model.transformer.resblocks.1.attn.in_proj_bias',
        message:
          'can be made only in part: there is no text_encoder_2.text_model.encoder.layers.1.self_attn.k_proj.bias',
      },
    ])
  })
})

test('a VAE attention that is not a convolution is an error', async () => {
  const { original } = diffusionModel('sd15')
  const name = 'first_stage_model.encoder.mid.attn_1.q.weight'
  const model = { ...original, [name]: { ...original[name]!, shape: original[name]!.shape.slice(0, 2) } }
  await asFile(model, async (one) => {
    const { problems } = converted(one.tensors, 'sd15/original', 'sd15/diffusers')
    assert.equal(problems, [{ tensor: name, message: 'has the shape [12,12], which should end with 2 axes of size 1' }])
  })
})

/** Flux has two more forms than its fixture. */
test('flux: ComfyUI, with and without VAE and text encoders, and a transformer alone', async () => {
  const folder = path.join(fixture('layouts'), 'flux')
  const [released, pipeline] = await Promise.all([
    opened(path.join(folder, 'original.safetensors')),
    opened(path.join(folder, 'diffusers')),
  ])
  const [bare, modules] = [
    await readTensors(released, released.tensors),
    await readTensors(pipeline, pipeline.tensors),
  ] as [RawTensors, RawTensors]
  const alone = moduleOf(modules, 'transformer.')
  const ofComfy = renamed(bare, /^/, 'model.diffusion_model.')
  await bothWays(ofComfy, 'flux/comfyui', bare, 'flux/original')
  await bothWays(ofComfy, 'flux/comfyui', alone, 'flux/transformer')
  await bothWays(alone, 'flux/transformer', modules, 'flux/diffusers')

  const { diffusers, original } = diffusionModel('sd15')
  const text = moduleOf(diffusers, 'text_encoder.')
  const t5 = { 'shared.weight': f32([1], [1]), 'encoder.block.0.layer.0.SelfAttention.q.weight': f32([1], [2]) }
  const vae = moduleOf(original, 'first_stage_model.')
  const whole = {
    ...ofComfy,
    ...renamed(vae, /^/, 'vae.'),
    ...renamed(text, /^/, 'text_encoders.clip_l.transformer.'),
    ...renamed(t5, /^/, 'text_encoders.t5xxl.transformer.'),
  }
  const wanted = {
    ...modules,
    ...renamed(moduleOf(diffusers, 'vae.'), /^/, 'vae.'),
    ...renamed(text, /^/, 'text_encoder.'),
    ...renamed(t5, /^/, 'text_encoder_2.'),
  }
  await bothWays(whole, 'flux/comfyui', wanted, 'flux/diffusers')
})

test.run()
