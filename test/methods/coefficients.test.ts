/** The coefficients of the methods against their formulas. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ScalarMath } from '../../src/kernels/types.js'
import { familyOf, lookupMethod, METHOD_NAMES, METHODS } from '../../src/methods/registry.js'
import type { Method, PassInput, Resolved } from '../../src/methods/types.js'

/** The engine's own: near enough for a comparison to 1e-12. */
const math: ScalarMath = Math

function method(name: string): Method {
  const found = lookupMethod(name)
  if (!found) throw new Error(`no method ${name}`)
  return found
}

/** What was written, with the method's defaults for the rest. */
const withDefaults = (of: Method, written: Readonly<Record<string, Resolved>>): Readonly<Record<string, Resolved>> =>
  Object.fromEntries(of.parameters.map((parameter) => [parameter.name, written[parameter.name] ?? parameter.default!]))

function input(
  name: string,
  weights: number[],
  written: Record<string, Resolved> = {},
  sums: number[] = [],
): PassInput {
  const parameters = withDefaults(method(name), written)
  const results = [Float64Array.from(sums)]
  return { shape: [4], weights, parameters, tensor: 'w', models: [], seed: 0, onBase: true, results, scope: [], math }
}
const coefficients = (...args: Parameters<typeof input>) => {
  const given = input(...args)
  return method(args[0]).passes(given).map.coefficients(given)
}

test('linear divides by the sum of the weights unless told not to', () => {
  assert.equal(coefficients('linear', [1, 3]), [0.25, 0.75])
  assert.equal(coefficients('linear', [1, 3], { normalize: false }), [1, 3])
  assert.equal(coefficients('linear', [2, -1]), [2, -1])
  assert.equal(method('arithmetic').effective(input('linear', [1, 1, 2])), [0.25, 0.25, 0.5])
  assert.is(method('linear').divides({ normalize: true }), true)
  assert.is(method('linear').divides({ normalize: false }), false)
})

test('task arithmetic scales by lambda', () => {
  assert.equal(coefficients('task_arithmetic', [0.7, -0.2], { lambda: 0.5 }), [0.35, -0.1])
  assert.equal(coefficients('task_arithmetic', [1, 3], { lambda: 2, normalize: true }), [0.5, 1.5])
  assert.equal(method('task_arithmetic').effective(input('task_arithmetic', [1, 3], { lambda: 2 })), [1, 3])
  assert.is(method('task_arithmetic').divides(withDefaults(method('task_arithmetic'), {})), false)
})

test('passthrough scales', () => {
  assert.equal(coefficients('passthrough', [1]), [1])
  assert.equal(coefficients('passthrough', [1], { scale: [2] }), [2])
  assert.equal(method('passthrough').effective(input('passthrough', [1])), [null])
})

test('slerp goes along the arc', () => {
  const near = (found: readonly number[], wanted: number[]) => {
    for (const [i, value] of found.entries())
      assert.ok(Math.abs(value - (wanted[i] ?? Number.NaN)) < 1e-12, `${found} is not ${wanted}`)
  }
  // Orthogonal: θ = π/2, whatever the norms.
  near(coefficients('slerp', [], { t: 0.5 }, [9, 4, 0]), [Math.SQRT1_2, Math.SQRT1_2])
  near(coefficients('slerp', [], { t: 0 }, [9, 4, 3]), [1, 0])
  near(coefficients('slerp', [], { t: 1 }, [9, 4, 3]), [0, 1])
  // cos θ = 1/2: θ = π/3.
  const sin = (x: number) => Math.sin((x * Math.PI) / 3) / Math.sin(Math.PI / 3)
  near(coefficients('slerp', [], { t: 0.25 }, [4, 4, 2]), [sin(0.75), sin(0.25)])
  near(coefficients('slerp', [], { t: 0.25 }, [4, 4, -2]), [
    Math.sin((0.75 * 2 * Math.PI) / 3) / Math.sin((2 * Math.PI) / 3),
    Math.sin((0.25 * 2 * Math.PI) / 3) / Math.sin((2 * Math.PI) / 3),
  ])
})

test('slerp is linear where the models are parallel, and divides by no norm that is 0', () => {
  assert.equal(coefficients('slerp', [], { t: 0.25 }, [1, 1, 0.9996]), [0.75, 0.25])
  assert.equal(coefficients('slerp', [], { t: 0.25 }, [1, 1, -1]), [0.75, 0.25])
  assert.equal(coefficients('slerp', [], { t: 0.25 }, [4, 4, 4.000001]), [0.75, 0.25])
  assert.not.equal(coefficients('slerp', [], { t: 0.25 }, [1, 1, 0.9995]), [0.75, 0.25])
  const zero = coefficients('slerp', [], { t: 0.5 }, [0, 4, 0])
  assert.ok(zero.every((value) => Math.abs(value - Math.SQRT1_2) < 1e-12))
  const tiny = coefficients('slerp', [], { t: 0.5 }, [1e-16, 1e-16, 1e-16])
  assert.ok(tiny.every((value) => Math.abs(value - Math.SQRT1_2) < 1e-12))
})

test('the registry', () => {
  assert.is(
    new Set(METHOD_NAMES).size,
    METHODS.reduce((sum, { aliases }) => sum + 1 + aliases.length, 0),
  )
  assert.is(lookupMethod('arithmetic'), lookupMethod('linear'))
  assert.is(lookupMethod('constructor'), undefined)
})

test('the family of a method is its folder', () => {
  const source = readFileSync(new URL('../../../src/methods/registry.ts', import.meta.url), 'utf8')
  const folders = new Map<string, string>()
  for (const [, names, folder] of source.matchAll(/^import \{ ([^}]+) \} from '\.\/(\w+)\//gm))
    for (const name of names!.split(', ')) folders.set(name, folder!)
  const [, lists] = /^const FAMILIES = \{\n(.*?)^\}/ms.exec(source)!
  const listed = [...lists!.matchAll(/^ {2}(\w+): \[\n(.*?)^ {2}\]/gms)].flatMap(([, family, names]) =>
    [...names!.matchAll(/\w+/g)].map(([name]) => [name, family] as const),
  )
  assert.equal(new Map([...listed].sort()), new Map([...folders].sort()))
  assert.equal(new Set(METHODS.map(familyOf)), new Set(folders.values()))
})

test.run()
