/** Alignments through the real command: specs told, written and refused, and what they do to an average. */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { METHODS } from '../../src/methods/registry.js'
import type { Method } from '../../src/methods/types.js'
import { llama } from '../rebasin/llama.js'
import { loadModel } from '../rebasin/load.js'
import { near } from '../rebasin/random.js'
import { bf16, f32, inFolder, numbers, writeModel } from '../support/files.js'
import { BIN, fixture, plainEnv, terge } from '../support/terge.js'

const [A, B, C] = [0, 1, 2].map((n) => fixture(`digits/mlp256-${n}.safetensors`))
const EVALUATE = fixture('../../recipes/quickstart/evaluate.mjs')

const recipe = (rebasin: string, output: string): string =>
  `terge: 1\nmodels: {a: ${A}, b: ${B}, c: ${C}}\nrebasin: ${rebasin}\nmerge: {method: linear, models: [a, b]}\noutput: ${output}\n`

const lineageOf = (folder: string, name: string) =>
  JSON.parse(readFileSync(path.join(folder, `${name}.lineage.json`), 'utf8'))

test('an aligned average reads digits; the spec that inspect prints gives the same', () =>
  inFolder(async (folder) => {
    const evaluate = `evaluate: {command: [node, ${EVALUATE}, "{model}"]}\n`
    writeFileSync(
      path.join(folder, 'auto.yml'),
      recipe('{model: b, onto: a, spec: chain}', 'auto.safetensors') + evaluate,
    )
    const told = await terge(['plan', 'auto.yml'], folder)
    assert.match(
      told.out,
      /b onto a: weight-matching, family chain\n.*3 groups, 768 units: fc1 256, fc2 256, fc3 256\n/,
    )
    assert.match(told.out, /roughly \d+ million multiplications per sweep, at most 100 sweeps/)

    const ran = await terge(['run', 'auto.yml', '--threads', '2', '--allow-commands'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.match(
      ran.out,
      /^b aligned to a: \d+ of 768 units moved, similarity 0\.0\d+ → 0\.[34]\d+, \d+ iterations\nauto/,
    )
    // A step that takes seconds says little in a log.
    assert.ok(ran.err.split('\n').filter((line) => line.startsWith('rebasin-b: ')).length <= 3, ran.err)
    const { steps, evaluations } = lineageOf(folder, 'auto')
    assert.ok(evaluations.accuracy >= 0.975, String(evaluations.accuracy))
    assert.ok(evaluations.loss <= 0.09, String(evaluations.loss))
    assert.equal(Object.keys(steps['rebasin-b'].groups), ['fc1', 'fc2', 'fc3'])

    // The library's form knows models and weights, and no alignments.
    const report = JSON.parse((await terge(['report', 'auto.lineage.json', '--format', 'terge'], folder)).out)
    assert.equal(report['fc1.weight'], [
      'arithmetic',
      [
        [0, 0.5],
        [1, 0.5],
      ],
    ])

    const spec = await terge(['inspect', A!, '--spec', '--json'], folder)
    writeFileSync(path.join(folder, 'spec.json'), spec.out)
    writeFileSync(path.join(folder, 'file.yml'), recipe('{model: b, onto: a, spec: spec.json}', 'file.safetensors'))
    const again = await terge(['run', 'file.yml', '--threads', '1'], folder)
    assert.is(again.code, 0, again.err)
    assert.is(lineageOf(folder, 'file').output.digest, lineageOf(folder, 'auto').output.digest)
  }))

test('inspect --spec: groups, axes, and what stays with its reason', async () => {
  const resnet = await terge(['inspect', fixture('digits/resnet-0.safetensors'), '--spec'])
  assert.match(
    resnet.out,
    /^family {6}resnet, assumed[^\n]*spec: resnet[^\n]*\npermutes {4}6 groups, 448 units: conv1 32, /,
  )
  assert.match(resnet.out, /\nlayer1\.0\.conv2\.weight +\[32, 32, 3, 3\] +conv1, layer1\.0\.conv1, -, -\n/)
  const llama = await terge(['inspect', fixture('lm/base'), '--spec'])
  assert.match(llama.out, /\nlayers\.0\.v +24 in each of layers\.0\.kv +2\n/)
  const both = await terge(['inspect', A!, '--spec', '--filter', 'fc1.*'])
  assert.equal([both.code, both.out], [2, ''])
  assert.match(both.err, 'bad-flag')
})

test('invalid specs and specs that do not fit are errors at their place', () =>
  inFolder(async (folder) => {
    const validate = async (spec: string) => {
      writeFileSync(path.join(folder, 'r.yml'), recipe(`{model: b, onto: a, spec: ${spec}}`, 'out.safetensors'))
      const { code, err } = await terge(['validate', 'r.yml'], folder)
      assert.is(code, 2, spec)
      return err
    }
    assert.match(
      await validate('{groups: {x: 255}, tensors: {fc1.weight: [x]}}'),
      /^r\.yml:3:78: error spec-misfit: .*fc1\.weight.*axis 0/m,
    )
    // Every misfit is told, where it stands.
    const several = await validate('{groups: {x: 256}, tensors: {fc9.weight: [x], fc2.weight: [y, x, x]}}')
    assert.match(
      several,
      /^r\.yml:3:\d+: error spec-misfit: .*fc9\.weight[\s\S]*\n *hint: did you mean 'fc1\.weight'\?/m,
    )
    assert.match(several, /^r\.yml:3:\d+: error spec-misfit: .*fc2\.weight, axis 0: group "y" has no size/m)
    assert.match(several, /^r\.yml:3:\d+: error spec-misfit: .*fc2\.weight has 2 axes, but the spec has axis 2/m)
    writeFileSync(path.join(folder, 'misfit.yml'), 'groups: {x: 256}\ntensors:\n  fc1.weight: [null, x]\n')
    assert.match(
      await validate('misfit.yml'),
      /^misfit\.yml:3:22: error spec-misfit: .*fc1\.weight, axis 1: x is 256 places, but the axis has 64/m,
    )
    assert.match(await validate('resnt'), /error spec-family: .*\n.*\n.*\n *hint: did you mean 'resnet'\?/)
    assert.match(
      await validate('{groups: {x: none}, tensors: {fc1.weight: [x]}, tenors: 1}'),
      /r\.yml:3:\d+: error bad-spec: the group 'x' must be a size.*\n[\s\S]*no key 'tenors'[\s\S]*did you mean 'tensors'/,
    )
    assert.match(await validate('lost.yml'), /^r\.yml:3:36: error bad-spec: the permutation spec: there is no file/m)
    writeFileSync(path.join(folder, 'bad.yml'), 'tensors:\n  fc1.weight: [{x: 1}]\n')
    assert.match(await validate('bad.yml'), /^bad\.yml:2:16: error bad-spec: an axis must be null, a group/m)
    assert.match(await validate('resnext'), /^r\.yml:3:36: error spec-family: .*resnext/m)
  }))

test('one model twice in a joint alignment, and a model without permutable tensors, are reported', () =>
  inFolder(async (folder) => {
    writeFileSync(
      path.join(folder, 'r.yml'),
      recipe('{models: [a, b, a], method: c2m3, spec: chain}', 'out.safetensors'),
    )
    const twice = await terge(['validate', 'r.yml'], folder)
    assert.match(twice.err, /^r\.yml:3:\d+: error contradiction: rebasin aligns 'a' with itself/m)
    const text = recipe('{model: b, onto: a, spec: {tensors: {fc1.weight: []}}}', 'out.safetensors')
    writeFileSync(path.join(folder, 'n.yml'), text)
    const nothing = await terge(['validate', 'n.yml'], folder)
    assert.is(nothing.code, 2)
    assert.match(
      nothing.err,
      /^n\.yml:3:\d+: error nothing-to-permute: no axis of a can be permuted: the spec has no group/m,
    )
  }))

test('a network that only names and shapes tell is not permuted, and the hint says how to confirm it', () =>
  inFolder(async (folder) => {
    const refused = async (model: string, more = '') => {
      const models = `models: {a: ${fixture(`digits/${model}-0.safetensors`)}, b: ${fixture(`digits/${model}-1.safetensors`)}}`
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\n${models}\nrebasin: {model: b, onto: a${more}}\nmerge: {method: linear}\noutput: o.safetensors\n`,
      )
      const { code, err } = await terge(['validate', 'r.yml'], folder)
      return { code, err: err.replace(/\s+/g, ' ') }
    }
    const chain = await refused('mlp256')
    assert.is(chain.code, 2)
    assert.match(
      chain.err,
      'a looks like a sequence of layers (fc1, fc2, fc3, fc4), but names and shapes do not prove it',
    )
    assert.match(chain.err, 'if each layer reads only the output of the layer before it, write spec: chain')
    assert.match(chain.err, 'spec: model.onnx')
    assert.match(chain.err, 'inspect MODEL --spec --json')
    const blocks = await refused('resnet')
    assert.match(blocks.err, 'a looks like a network of blocks with shortcuts')
    assert.match(blocks.err, 'write spec: resnet')
    assert.equal((await refused('mlp256', ', spec: chain')).code, 0)
    assert.equal(await refused('resnet', ', spec: resnet'), { code: 0, err: '' })
  }))

test('a joint alignment and a repair report what they did', () =>
  inFolder(async (folder) => {
    const joint = recipe('{models: [a, b, c], method: merge-many, spec: chain}', 'joint.safetensors').replace(
      ', models: [a, b]',
      '',
    )
    writeFileSync(path.join(folder, 'joint.yml'), joint)
    const ran = await terge(['run', 'joint.yml'], folder)
    assert.match(ran.out, /^b aligned to a: .*\nc aligned to a: \d+ of 768 units moved, /)
    const { steps } = lineageOf(folder, 'joint')
    assert.is(steps['rebasin.b'].method, 'merge-many')
    assert.ok(steps['rebasin.c'].score.after > steps['rebasin.c'].score.before)

    // In the long form the step is its models' mean, and each aligned model by itself; who uses one uses the step.
    const long = `terge: 1\nmodels: {a: ${A}, b: ${B}, c: ${C}}\nsteps:\n  j: {rebasin: {models: [a, b, c], method: c2m3, spec: chain}}\n  m: {merge: {method: linear, models: [a, j.b]}}\noutput: o.safetensors\n`
    writeFileSync(path.join(folder, 'long.yml'), long)
    const valid = await terge(['validate', 'long.yml'], folder)
    assert.equal([valid.code, valid.err], [0, ''])

    const [one, two] = [0, 1].map((n) => fixture(`digits/resnet-${n}.safetensors`))
    const text = `terge: 1\nmodels: {a: ${one}, b: ${two}}\nmerge: {method: linear}\nrepair: {batch_norm: correlation}\noutput: r.safetensors\n`
    writeFileSync(path.join(folder, 'repair.yml'), text)
    assert.match(
      (await terge(['plan', 'repair.yml'], folder)).out,
      'repair: 9 BatchNorms, running variances by correlation',
    )
    const repaired = await terge(['run', 'repair.yml'], folder)
    assert.match(repaired.out, /^repair: 9 norms repaired\nr\.safetensors: 56 tensors/)
  }))

test('results of methods that look at the whole model, or draw masks, can be aligned and aligned onto', () =>
  inFolder(async (folder) => {
    const run = async (name: string, steps: string, from: string) => {
      const text = `terge: 1\nmodels: {a: ${A}, b: ${B}, c: ${C}}\nsteps:\n${steps}outputs:\n  - {from: ${from}, path: ${name}.safetensors}\n  - {from: soup, path: ${name}-soup.safetensors}\n`
      writeFileSync(path.join(folder, `${name}.yml`), text)
      const ran = await terge(['run', `${name}.yml`, '--force', '--threads', '2'], folder)
      assert.is(ran.code, 0, ran.err)
      return lineageOf(folder, name)
    }
    for (const method of ['metagpt', 'pcb', 'dare_ties']) {
      const parameters = method === 'dare_ties' ? ', parameters: {density: 0.6}' : ''
      const soup = `  soup: {merge: {method: ${method}, models: [b, c], base: a${parameters}}}\n`
      const lineage = await run(
        method,
        `${soup}  on: {rebasin: {model: soup, onto: a, max_iterations: 2, spec: chain}}\n`,
        'on',
      )
      assert.ok(lineage.steps.on.similarity.after > lineage.steps.on.similarity.before)
      // An aligned model is the model with its units in another order: it has the same biases, sorted.
      const sorted = (name: string) =>
        [...loadModel(path.join(folder, `${name}.safetensors`)).get('fc1.bias')!.values].sort((x, y) => x - y)
      assert.equal(sorted(method), sorted(`${method}-soup`))
      await run(
        `onto-${method}`,
        `${soup}  on: {rebasin: {model: a, onto: soup, max_iterations: 2, spec: chain}}\n`,
        'on',
      )
    }
  }))

/** Whether a method holds a matrix of two models whole. */
const holds = ({ parameters, passes }: Method): boolean =>
  passes({
    ...{ tensor: 'x', shape: [4, 4], models: ['b', 'c'], weights: [1, 1], seed: 0, onBase: true, statistics: true },
    parameters: Object.fromEntries(
      parameters.map(({ name, default: value = 0.5, perModel }) => [
        name,
        perModel ? [Number(value), Number(value)] : value,
      ]),
    ),
  }).held !== undefined

test('results of methods that hold whole matrices can be aligned, in merges of their own too', () =>
  inFolder(async (folder) => {
    const shapes = { 'fc1.weight': [24, 16], 'fc1.bias': [24], 'fc2.weight': [10, 24], 'fc2.bias': [10] } as const
    const write = (name: string, tensors: Readonly<Record<string, readonly number[]>>, seed: number) =>
      writeModel(
        path.join(folder, `${name}.safetensors`),
        Object.fromEntries(
          Object.entries(tensors).map(([tensor, shape], at) => [
            tensor,
            f32(shape, numbers(shape[0]! * (shape[1] ?? 1), 10 * seed + at)),
          ]),
        ),
      )
    for (const [seed, name] of ['a', 'b', 'c', 'd'].entries()) write(name, shapes, seed)
    for (const name of ['b', 'c']) {
      const gram = (side: number, seed: number) => {
        const x = numbers(side * side, seed)
        return Float32Array.from({ length: side * side }, (_, at) => {
          const [i, j] = [Math.floor(at / side), at % side]
          return Array.from({ length: side }, (_, k) => x[i * side + k]! * x[j * side + k]!).reduce((s, n) => s + n, 0)
        })
      }
      writeModel(path.join(folder, `${name}-grams.safetensors`), {
        'fc1.weight': f32([16, 16], gram(16, 77)),
        'fc2.weight': f32([24, 24], gram(24, 78)),
      })
    }
    const model = (name: string) => `${name}: {path: ${name}.safetensors, statistics: ${name}-grams.safetensors}`
    /** Rows of the first layer, in an order of their own: what an alignment cannot change. */
    const rows = (name: string) => {
      const { values, shape } = loadModel(path.join(folder, `${name}.safetensors`)).get('fc1.weight')!
      return Array.from({ length: shape[0]! }, (_, i) => values.slice(i * 16, (i + 1) * 16).join()).sort()
    }
    for (const method of METHODS.filter(holds).map(({ name }) => name)) {
      const text = `terge: 1
models: {a: a.safetensors, ${model('b')}, ${model('c')}, d: d.safetensors}
steps:
  soup: {merge: {method: ${method}, models: [b, c], base: a}}
  on: {rebasin: {model: soup, onto: a, spec: chain}}
  mean: {merge: {method: linear, models: [soup, d]}}
  mean_on: {rebasin: {model: mean, onto: a, spec: chain}}
outputs: [${['soup', 'on', 'mean', 'mean_on'].map((name) => `{from: ${name}, path: ${name}.safetensors}`).join(', ')}]
`
      writeFileSync(path.join(folder, 'r.yml'), text)
      const ran = await terge(['run', 'r.yml', '--force', '--threads', '2'], folder)
      assert.is(ran.code, 0, `${method}: ${ran.err}`)
      assert.equal(rows('on'), rows('soup'), method)
      assert.equal(rows('mean_on'), rows('mean'), method)
    }
  }))

test('what an orthogonal alignment made can be aligned again, and keeps its function', () =>
  inFolder(async (folder) => {
    const text = `terge: 1
models: {a: ${fixture('lm/base')}, b: ${fixture('lm/indep')}, c: ${fixture('lm/python')}}
steps:
  turned: {rebasin: {model: b, onto: a, symmetry: orthogonal, max_iterations: 2}}
  again: {rebasin: {model: turned, onto: a, max_iterations: 2}}
  soup: {merge: {method: linear, models: [a, turned]}}
  onto: {rebasin: {model: c, onto: soup, max_iterations: 2}}
  joint: {rebasin: {models: [a, turned, c], method: merge-many, max_iterations: 2}}
outputs: [${['again', 'onto', 'joint.turned'].map((name) => `{from: ${name}, path: ${name}}`).join(', ')}]
`
    writeFileSync(path.join(folder, 'r.yml'), text)
    const ran = await terge(['run', 'r.yml', '--threads', '2'], folder)
    assert.is(ran.code, 0, ran.err)
    const config = JSON.parse(readFileSync(fixture('lm/base/config.json'), 'utf8'))
    const files = (at: string) =>
      readdirSync(at)
        .filter((name) => name.endsWith('.safetensors'))
        .map((name) => path.join(at, name))
    const logits = (at: string) => llama(loadModel(...files(at)), config, [1, 5, 3, 9])
    for (const [name, source] of [
      ['again', 'indep'],
      ['onto', 'python'],
      ['joint.turned', 'indep'],
    ] as const) {
      const [before, after] = [logits(fixture(`lm/${source}`)), logits(path.join(folder, name))]
      // Outputs are bfloat16.
      for (const [place, row] of before.entries()) near(row, after[place]!, 0.1)
    }
  }))

test('Ctrl-C in the middle of a matching ends with 130 and leaves nothing behind', () =>
  inFolder(async (folder) => {
    const width = 2200
    for (const [seed, name] of ['a', 'b'].entries())
      writeModel(path.join(folder, `${name}.safetensors`), {
        'fc1.weight': bf16([width, 40], numbers(width * 40, seed)),
        'fc2.weight': bf16([width, width], numbers(width * width, 2 + seed)),
        'fc3.weight': bf16([10, width], numbers(width * 10, 4 + seed)),
      })
    const text =
      'terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nsteps: {on: {rebasin: {model: b, onto: a, spec: chain}}}\noutput: out.safetensors\n'
    writeFileSync(path.join(folder, 'r.yml'), text)
    for (const threads of ['1', '2']) {
      const child = spawn(process.execPath, [BIN, 'run', 'r.yml', '--threads', threads, '--json'], {
        cwd: folder,
        env: plainEnv,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let err = ''
      child.stderr.on('data', (chunk) => {
        err += chunk
        // The next group's product or assignment is under way.
        if (String(chunk).includes('sweep 1, group 2')) setTimeout(() => child.kill('SIGINT'), 100)
      })
      const code = await new Promise((resolve) => child.on('close', resolve))
      assert.is(code, 130, err)
      assert.match(err, '"interrupted: no output was written"')
      assert.equal(readdirSync(folder).sort(), ['a.safetensors', 'b.safetensors', 'r.yml'])
    }
  }))

test('a group that does not fit into --memory is reported before anything is read, and one beyond 32 bits when planning', () =>
  inFolder(async (folder) => {
    const model = (name: string, width: number) =>
      writeModel(path.join(folder, `${name}.safetensors`), {
        'fc1.weight': bf16([width, 2], numbers(width * 2, 1)),
        'fc2.weight': bf16([2, width], numbers(width * 2, 2)),
      })
    const recipe = (width: number) => {
      for (const name of ['a', 'b']) model(name, width)
      const text =
        'terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nsteps:\n  on: {rebasin: {model: b, onto: a, spec: chain}}\noutput: out.safetensors\n'
      writeFileSync(path.join(folder, 'r.yml'), text)
    }
    recipe(9000)
    const planned = await terge(['plan', 'r.yml', '--json'], folder)
    const { cost, memory } = JSON.parse(planned.out)
    assert.equal(cost.analyses[0].steps, ['on'])
    assert.ok(cost.analyses[0].bytes > 4 * 9000 ** 2 && memory > cost.analyses[0].bytes)
    assert.is(cost.analyses[0].multiplications, 2 * 2 * 9000 ** 2)
    const small = await terge(['run', 'r.yml', '--memory', '300MB'], folder)
    assert.is(small.code, 2)
    assert.match(small.err, /memory-too-small: --memory 300 MB is not enough for step on\n.*this run needs \d+ MB/)
    recipe(33_000)
    const large = await terge(['plan', 'r.yml'], folder)
    assert.is(large.code, 2)
    assert.match(large.err, /r\.yml:4:8: error group-too-large: .*33000 units/)
  }))

test('a repair of float64 statistics is computed in float32, and says so', () =>
  inFolder(async (folder) => {
    const f64 = (shape: readonly number[], first: number) => ({
      dtype: 'F64',
      shape,
      bytes: new Uint8Array(
        Float64Array.from({ length: shape.reduce((n, size) => n * size, 1) }, (_, i) => first + i / 7).buffer,
      ),
    })
    for (const [index, name] of ['a', 'b'].entries())
      writeModel(path.join(folder, `${name}.safetensors`), {
        'conv1.weight': f64([2, 3, 1, 1], index),
        ...Object.fromEntries(
          ['weight', 'bias', 'running_mean', 'running_var'].map((key) => [`bn1.${key}`, f64([2], 1 + index)]),
        ),
      })
    const recipe = 'terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nmerge: {method: linear}\n'
    writeFileSync(path.join(folder, 'r.yml'), `${recipe}repair: {batch_norm: correlation}\noutput: r.safetensors\n`)
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.err, /warning computed-in-float32: .*1 tensor in float32, such as bn1.running_var/)
    writeFileSync(path.join(folder, 'plain.yml'), `${recipe}output: plain.safetensors\n`)
    assert.not.match((await terge(['run', 'plain.yml'], folder)).err, /computed-in-float32/)
  }))

test.run()
