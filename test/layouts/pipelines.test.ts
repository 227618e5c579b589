/** Conversions between original files and folders of diffusers: modules, configurations, small files, and what is refused. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sd15Unet, sdxlUnet } from '../../src/layouts/families/diffusion/configs.js'
import { diffusionModel, moduleOf, type RawTensors, writePipeline } from '../support/diffusion.js'
import { inFolder, writeModel } from '../support/files.js'
import { opened, readTensors, sameTensors } from '../support/layouts.js'
import { type Ran, terge } from '../support/terge.js'

const json = (file: string): Record<string, unknown> => JSON.parse(readFileSync(file, 'utf8'))
const tensorsIn = async (file: string): Promise<RawTensors> => {
  const model = await opened(file)
  return { ...(await readTensors(model, model.tensors)) }
}

/** A folder with an original file, a pipeline with the same weights, and a pipeline with scheduler and tokenizer. */
async function withModels(kind: 'sd15' | 'sdxl', work: (at: (name: string) => string) => Promise<void>): Promise<void> {
  await inFolder(async (folder) => {
    const at = (name: string): string => path.join(folder, name)
    const { diffusers, original } = diffusionModel(kind)
    writeModel(at('original.safetensors'), original)
    writePipeline(at('pipeline'), kind, diffusers)
    const small = {
      'scheduler/scheduler_config.json': '{"_class_name": "PNDMScheduler"}\n',
      'tokenizer/tokenizer_config.json': '{"model_max_length": 7}\n',
      'tokenizer/merges.txt': '#version: 0.2\ni n\n',
      'safety_checker/config.json': '{"model_type": "clip"}\n',
    }
    for (const [name, text] of Object.entries(small)) {
      mkdirSync(path.dirname(at(`pipeline/${name}`)), { recursive: true })
      writeFileSync(at(`pipeline/${name}`), text)
    }
    const index = {
      ...json(at('pipeline/model_index.json')),
      scheduler: ['diffusers', 'PNDMScheduler'],
      tokenizer: ['transformers', 'CLIPTokenizer'],
      requires_safety_checker: true,
    }
    writeFileSync(at('pipeline/model_index.json'), JSON.stringify(index))
    // A folder that is given for its small files: with a module that the model does not have.
    writePipeline(at('small'), kind, {})
    for (const module of readdirSync(at('small')).filter((name) => name !== 'model_index.json'))
      for (const name of readdirSync(at(`small/${module}`)).filter((name) => name.endsWith('.safetensors')))
        writeFileSync(at(`small/${module}/${name}`), 'not read')
    for (const [name, text] of Object.entries(small)) {
      mkdirSync(path.dirname(at(`small/${name}`)), { recursive: true })
      writeFileSync(at(`small/${name}`), text)
    }
    const checker = ['stable_diffusion', 'StableDiffusionSafetyChecker']
    writeFileSync(at('small/model_index.json'), JSON.stringify({ ...index, safety_checker: checker }))
    await work(at)
  })
}

const convert = (at: (name: string) => string, ...args: string[]): Promise<Ran> => terge(['convert', ...args], at('.'))
const works = async (ran: Promise<Ran>): Promise<void> => {
  const { code, err } = await ran
  assert.is(code, 0, err)
}

for (const kind of ['sd15', 'sdxl'] as const) {
  test(`${kind}: a folder becomes a file with the original bytes`, async () => {
    await withModels(kind, async (at) => {
      await works(convert(at, 'pipeline', '-o', 'made.safetensors', '--layout', `${kind}/original`))
      sameTensors(await tensorsIn(at('made.safetensors')), await tensorsIn(at('original.safetensors')), kind)
    })
  })

  test(`${kind}: a file becomes a folder, with small files of another pipeline`, async () => {
    await withModels(kind, async (at) => {
      const to = ['-o', 'made', '--layout', `${kind}/diffusers`, '--config', 'small']
      await works(convert(at, 'original.safetensors', ...to))
      sameTensors(await tensorsIn(at('made')), await tensorsIn(at('pipeline')), kind)
      const names = readdirSync(at('pipeline'), { recursive: true, encoding: 'utf8' }).map((name) =>
        name.replaceAll(path.sep, '/'),
      )
      for (const name of names.filter((name) => /\.\w+$/.test(name) && !name.startsWith('safety_checker'))) {
        assert.ok(existsSync(at(`made/${name}`)), name)
        if (/(?<!model_index)\.(json|txt)$/.test(name))
          assert.is(readFileSync(at(`made/${name}`), 'utf8'), readFileSync(at(`pipeline/${name}`), 'utf8'), name)
      }
      assert.not(existsSync(at('made/safety_checker')))
      const index = json(at('made/model_index.json'))
      assert.equal([index.safety_checker, index.requires_safety_checker], [[null, null], false])
      assert.equal(index.tokenizer, ['transformers', 'CLIPTokenizer'])
    })
  })
}

test('a UNet alone: from a pipeline with its configuration, and as an original file', async () => {
  await withModels('sd15', async (at) => {
    const { diffusers, original } = diffusionModel('sd15')
    await works(convert(at, 'pipeline', '-o', 'unet', '--layout', 'sd15/unet', '--drop'))
    assert.equal(
      readdirSync(at('unet'))
        .filter((name) => name !== 'lineage.json' && name !== 'README.md')
        .sort(),
      ['config.json', 'diffusion_pytorch_model.safetensors'],
    )
    assert.equal(json(at('unet/config.json')), json(at('pipeline/unet/config.json')))
    sameTensors(await tensorsIn(at('unet')), moduleOf(diffusers, 'unet.'), 'unet')
    await works(convert(at, 'unet', '-o', 'unet.safetensors', '--layout', 'sd15/original'))
    const prefix = 'model.diffusion_model.'
    const wanted = Object.entries(original).filter(([name]) => name.startsWith(prefix))
    sameTensors(await tensorsIn(at('unet.safetensors')), Object.fromEntries(wanted), 'original')
  })
})

test('a module of an original file takes its configuration from a file or a pipeline', async () => {
  await withModels('sdxl', async (at) => {
    for (const config of ['pipeline/unet/config.json', 'small']) {
      const to = ['--layout', 'sdxl/unet', '--drop', '--config', config, '--force']
      await works(convert(at, 'original.safetensors', '-o', 'unet', ...to))
      assert.equal(json(at('unet/config.json')), json(at('pipeline/unet/config.json')), config)
    }
  })
})

test('a folder merges with a file, with weights per block, as a file with a file', async () => {
  await withModels('sd15', async (at) => {
    writeModel(at('other.safetensors'), diffusionModel('sd15', 2).original)
    const numbers = Array.from({ length: 26 }, (_, index) => index / 25)
    const merge = async (base: string, tuned: string, output: string): Promise<RawTensors> => {
      const step = `{method: task_arithmetic, models: [b], weights: {b: {mbw: [${numbers}]}}}`
      const models = `models: {a: ${base}, b: ${tuned}}\nbase: a`
      writeFileSync(at('recipe.yml'), `terge: 1\n${models}\nmerge: ${step}\noutput: ${output}\n`)
      await works(terge(['run', 'recipe.yml'], at('.')))
      return tensorsIn(at(output))
    }
    const wanted = await merge('other.safetensors', 'original.safetensors', 'wanted.safetensors')
    sameTensors(await merge('other.safetensors', 'pipeline', 'mixed.safetensors'), wanted, 'file and folder')
    const folder = await merge('pipeline', 'other.safetensors', 'folder')
    const file = await merge('original.safetensors', 'other.safetensors', 'file.safetensors')
    await works(convert(at, 'folder', '-o', 'converted.safetensors', '--layout', 'sd15/original'))
    sameTensors(await tensorsIn(at('converted.safetensors')), file, `folder of ${Object.keys(folder).length} tensors`)
  })
})

const REFUSED: readonly (readonly [what: string, args: readonly string[], error: string])[] = [
  [
    'tensors without a place',
    ['pipeline', '-o', 'unet', '--layout', 'sd15/unet'],
    'error no-place: --layout: 280 tensors of pipeline have no place in sd15/unet',
  ],
  [
    'a folder for an original file',
    ['pipeline', '-o', 'made', '--layout', 'sd15/original'],
    'error layout-config: --output: sd15/original is a single file',
  ],
  [
    'a file for a pipeline',
    ['original.safetensors', '-o', 'made.safetensors', '--layout', 'sd15/diffusers'],
    'error layout-config: --output: sd15/diffusers is a folder with modules',
  ],
  [
    'a pipeline without small files',
    ['original.safetensors', '-o', 'made', '--layout', 'sd15/diffusers'],
    'error layout-config: --output: sd15/diffusers needs small files that the model does not have: model_index.json, unet/config.json, vae/config.json, text_encoder/config.json, scheduler, tokenizer',
  ],
  [
    'a UNet of unknown widths without a configuration',
    ['original.safetensors', '-o', 'made', '--layout', 'sd15/unet', '--drop'],
    "error layout-config: --output: sd15/unet needs a config.json, which terge can't derive: block_out_channels is [6,12,12,12], not [320,640,1280,1280] as in the published model",
  ],
  [
    'a configuration of other sizes',
    ['original.safetensors', '-o', 'made', '--layout', 'sd15/diffusers', '--config', 'wrong'],
    'error layout-config: --output: sd15/diffusers does not fit: cross_attention_dim of unet is 768 in its configuration, but the tensors say 10',
  ],
  [
    'a pipeline with a module that the model lacks',
    ['original.safetensors', '-o', 'made', '--layout', 'sd15/diffusers', '--config', 'more'],
    'error layout-config: --output: sd15/diffusers has no tensors of text_encoder_2, which the pipeline more has',
  ],
  [
    'a configuration for a model that has one',
    ['pipeline', '-o', 'made.safetensors', '--layout', 'sd15/original', '--config', 'small'],
    "error contradiction: --config: the model 'pipeline' has its own config.json",
  ],
]

test('conversions that would be incomplete are refused, and nothing is written', async () => {
  await withModels('sd15', async (at) => {
    for (const name of ['wrong', 'more']) {
      mkdirSync(at(name))
      for (const module of readdirSync(at('small')).filter((one) => one !== 'model_index.json')) {
        mkdirSync(at(`${name}/${module}`))
        for (const file of readdirSync(at(`small/${module}`)))
          writeFileSync(at(`${name}/${module}/${file}`), readFileSync(at(`small/${module}/${file}`)))
      }
      writeFileSync(at(`${name}/model_index.json`), readFileSync(at('small/model_index.json')))
    }
    const unet = { ...json(at('small/unet/config.json')), cross_attention_dim: 768 }
    writeFileSync(at('wrong/unet/config.json'), JSON.stringify(unet))
    mkdirSync(at('more/text_encoder_2'))
    writeFileSync(at('more/text_encoder_2/config.json'), '{}')
    const more = { ...json(at('more/model_index.json')), text_encoder_2: ['transformers', 'CLIPTextModel'] }
    writeFileSync(at('more/model_index.json'), JSON.stringify(more))
    for (const [what, args, error] of REFUSED) {
      const { code, err } = await convert(at, ...args)
      assert.is(code, 2, `${what}: ${err}`)
      assert.is(err.split('\n')[0]!.slice(0, error.length), error, what)
      assert.not(existsSync(at('made')) || existsSync(at('made.safetensors')), what)
    }
  })
})

test('the configuration of the published UNets follows from their shapes', () => {
  const shapes = (channels: readonly number[], cross: number, level: number) =>
    new Map<string, { shape: readonly number[] }>([
      ['conv_in.weight', { shape: [channels[0]!, 4, 3, 3] }],
      ['conv_out.weight', { shape: [4, channels[0]!, 3, 3] }],
      [`down_blocks.${level}.attentions.0.transformer_blocks.0.attn2.to_k.weight`, { shape: [320, cross] }],
      ...channels.map(
        (size, at) => [`down_blocks.${at}.resnets.0.conv1.weight`, { shape: [size, 320, 3, 3] }] as const,
      ),
    ])
  const unet = sd15Unet(shapes([320, 640, 1280, 1280], 768, 0))
  assert.ok(typeof unet !== 'string' && unet.attention_head_dim === 8 && unet.cross_attention_dim === 768)
  const xl = sdxlUnet(shapes([320, 640, 1280], 2048, 1))
  assert.ok(typeof xl !== 'string' && xl.addition_embed_type === 'text_time' && xl.in_channels === 4)
  assert.match(sdxlUnet(shapes([320, 640, 1280], 1280, 1)) as string, 'cross_attention_dim is 1280, not 2048')
})

test.run()
