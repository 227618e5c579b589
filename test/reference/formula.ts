/**
 * formula: a second reading of the formula language, element by element over whole arrays. Shares nothing with the program: its own
 * parser makes functions of the model at hand, without a tree.
 */
import { baseOf, decoded, type Given, mathOf, option, rounding, sum, type Tensor, weightsOf, zeros } from './numeric.js'

/** One number for all elements, or one each. `exact`: known before tensors, without exp, log, tanh and ^. */
type Val = { readonly one: number; readonly exact: boolean } | { readonly each: Float64Array }
/** A part of a formula at a model: its value, and a text that is equal for equal parts. */
interface Part {
  readonly value: (model: number) => Val
  readonly text: (model: number) => string
  /** A comparison. */
  readonly sides?: readonly [Part, string, Part]
  /** A quantile: of what, and which elements lie at or above it. */
  readonly quantile?: { readonly of: Part; readonly above: (model: number) => readonly boolean[] }
  /** The right side of `1 - d`. */
  readonly complement?: Part
}

type Rule = (...args: number[]) => number

const exactly = (one: number, exact = true): Val => ({ one, exact })

class Reader {
  private at = 0
  private readonly tokens: readonly string[]
  private readonly round: (x: number) => number
  private readonly inputs: readonly Tensor[]
  private readonly n: number
  private readonly known = new Map<string, Val>()

  constructor(
    text: string,
    private readonly given: Given,
  ) {
    this.tokens = text.match(/[\d.]+(?:e[+-]?\d+)?|\w+|[<>=!]=|\S/gi) ?? []
    this.round = rounding(given.compute)
    this.inputs = decoded(given)
    this.n = given.inputs[0]!.length
  }

  whole(): Val {
    const part = this.comparison()
    if (this.at < this.tokens.length) throw new Error(`internal: ${this.tokens[this.at]} in a formula`)
    return part.value(-1)
  }

  private take(...tokens: readonly string[]): string | undefined {
    const token = this.tokens[this.at]
    if (token === undefined || !tokens.includes(token)) return undefined
    this.at++
    return token
  }

  private part(value: Part['value'], text: Part['text'], more: Partial<Part> = {}): Part {
    const once = (model: number): Val => {
      const key = text(model)
      const found = this.known.get(key) ?? value(model)
      this.known.set(key, found)
      return found
    }
    return { value: once, text, ...more }
  }

  /** A rule on values: in float64 where all are numbers, else per element and rounded. */
  private apply(values: readonly Val[], rule: Rule, exact = true): Val {
    if (values.every((one) => 'one' in one)) {
      const all = values as readonly { one: number; exact: boolean }[]
      return exactly(rule(...all.map(({ one }) => one)), exact && all.every((one) => one.exact))
    }
    const each = Float64Array.from({ length: this.n }, (_, i) =>
      this.round(rule(...values.map((one) => ('one' in one ? this.round(one.one) : one.each[i]!)))),
    )
    return { each }
  }

  private add(a: Val, b: Val): Val {
    if ('one' in a && a.exact && a.one === 0) return b
    if ('one' in b && b.exact && b.one === 0) return a
    return this.apply([a, b], (x, y) => x + y)
  }

  private binary(sign: string, left: Part, right: Part): Part {
    const math = mathOf(this.given)
    return this.part(
      (model) => {
        const [a, b] = [left.value(model), right.value(model)]
        const zero = [a, b].some((one) => 'one' in one && one.exact && one.one === 0)
        if (sign === '+') return this.add(a, b)
        if (sign === '-') return 'one' in b && b.exact && b.one === 0 ? a : this.apply([a, b], (x, y) => x - y)
        if (sign === '*') return zero ? exactly(0) : this.apply([a, b], (x, y) => x * y)
        if (sign === '/') return this.apply([a, b], (x, y) => x / y)
        if ('one' in b && b.exact && b.one === 2) return this.apply([a, a], (x, y) => x * y)
        return this.apply([a, b], (x, y) => math.pow(x, y), false)
      },
      (model) => `(${left.text(model)}${sign}${right.text(model)})`,
      sign === '-' && left.text(0) === '1' ? { complement: right } : {},
    )
  }

  private comparison(): Part {
    const left = this.chain(['+', '-'], () => this.chain(['*', '/'], () => this.signed()))
    const sign = this.take('<', '<=', '>', '>=', '==', '!=')
    if (!sign) return left
    const right = this.chain(['+', '-'], () => this.chain(['*', '/'], () => this.signed()))
    return { ...left, sides: [left, sign, right] }
  }

  private chain(signs: readonly string[], operand: () => Part): Part {
    let left = operand()
    for (let sign = this.take(...signs); sign; sign = this.take(...signs)) left = this.binary(sign, left, operand())
    return left
  }

  private signed(): Part {
    if (this.take('+')) return this.signed()
    if (this.take('-')) {
      const of = this.signed()
      return this.part(
        (model) => this.apply([of.value(model)], (x) => -x),
        (model) => `-${of.text(model)}`,
      )
    }
    const left = this.primary()
    return this.take('^') ? this.binary('^', left, this.signed()) : left
  }

  private primary(): Part {
    const token = this.tokens[this.at++]!
    if (token === '(') {
      const inner = this.comparison()
      this.take(')')
      return inner
    }
    if (/^[\d.]/.test(token))
      return this.part(
        () => exactly(Number(token)),
        () => String(Number(token)),
      )
    if (!this.take('(')) return this.named(token)
    const args = [this.comparison()]
    while (this.take(',')) args.push(this.comparison())
    this.take(')')
    return this.call(token, args)
  }

  private named(name: string): Part {
    const index = this.take('[') ? Number(this.tokens[this.at++]) : undefined
    if (index !== undefined) this.take(']')
    const { given, inputs } = this
    const perModel = ['x', 'delta', 'w'].includes(name) || Array.isArray(given.parameters?.[name])
    return this.part(
      (at) => {
        const model = index ?? at
        if (name === 'base') return { each: Float64Array.from(baseOf(given)) }
        if (name === 'x') return { each: Float64Array.from(inputs[model]!) }
        if (name === 'w') return exactly(weightsOf(given)[model]!)
        if (name === 'layer') return exactly(given.layer?.index ?? 0)
        const own = given.parameters?.[name]
        if (name !== 'delta') return exactly(Number(Array.isArray(own) ? own[model] : own))
        const base = baseOf(given)
        return {
          each: Float64Array.from(inputs[model]!, (x, i) => (Object.is(x, base[i]) ? 0 : this.round(x - base[i]!))),
        }
      },
      (at) => (perModel ? `${name}[${index ?? at}]` : name),
    )
  }

  private call(name: string, args: readonly Part[]): Part {
    const text = (model: number): string => `${name}(${args.map((one) => textOf(one, model)).join()})`
    const [a, b, c] = args as [Part, Part, Part]
    if (name === 'where') return this.part((model) => this.where(a, b, c, model), text)
    if (name.startsWith('tensor_')) return this.tensor(name, a, b, text)
    const models = this.given.inputs.map((_, model) => model)
    if (args.length === 1 && ['sum', 'mean', 'min', 'max', 'median'].includes(name))
      return this.part(
        () =>
          this.overModels(
            name,
            models.map((model) => a.value(model)),
          ),
        () => `all ${name}(${textOf(a, 0)})`,
      )
    const math = mathOf(this.given)
    const rules: Record<string, Rule> = {
      ...{ abs: Math.abs, sqrt: Math.sqrt, sign: Math.sign, min: Math.min, max: Math.max },
      ...{ exp: math.exp, log: math.log, tanh: math.tanh },
      clamp: (x, low, high) => Math.min(Math.max(x, low!), high!),
    }
    const exact = !['exp', 'log', 'tanh'].includes(name)
    return this.part(
      (model) =>
        this.apply(
          args.map((one) => one.value(model)),
          rules[name]!,
          exact,
        ),
      text,
    )
  }

  private overModels(name: string, values: readonly Val[]): Val {
    if (name === 'median')
      return values.length === 1 ? values[0]! : this.apply(values, (...all) => middle(all, this.round))
    if (name === 'min' || name === 'max')
      return values.reduce((a, b) => this.apply([a, b], name === 'min' ? Math.min : Math.max))
    const total = values.reduce((left, right) => this.add(left, right))
    return name === 'sum' ? total : this.apply([total, exactly(values.length)], (x, y) => x / y)
  }

  private where(condition: Part, yes: Part, no: Part, model: number): Val {
    const [left, sign, right] = condition.sides!
    const ranks =
      (sign === '>=' || sign === '<') && right.quantile?.of.text(model) === left.text(model)
        ? right.quantile
        : (sign === '<=' || sign === '>') && left.quantile?.of.text(model) === right.text(model)
          ? left.quantile
          : undefined
    const holds: Record<string, (a: number, b: number) => boolean> = {
      ...{ '<': (p, q) => p < q, '<=': (p, q) => p <= q, '>': (p, q) => p > q },
      ...{ '>=': (p, q) => p >= q, '==': (p, q) => p === q, '!=': (p, q) => p !== q },
    }
    const sides = [left.value(model), right.value(model)]
    const [l, r] = sides as { one: number; exact: boolean }[]
    if (sides.every((one) => 'one' in one && one.exact)) return (holds[sign]!(l!.one, r!.one) ? yes : no).value(model)
    const values = [...sides, yes.value(model), no.value(model)]
    if (!ranks)
      return this.apply(values, (p, q, x, y) =>
        Number.isNaN(p) || Number.isNaN(q) ? Number.NaN : holds[sign]!(p!, q!) ? x! : y!,
      )
    const [chosen, other] = sign === '>=' || sign === '<=' ? [values[2]!, values[3]!] : [values[3]!, values[2]!]
    const above = ranks.above(model)
    const at = (of: Val, i: number): number => ('one' in of ? this.round(of.one) : of.each[i]!)
    return { each: Float64Array.from({ length: this.n }, (_, i) => at(above[i] ? chosen : other, i)) }
  }

  private tensor(name: string, of: Part, q: Part, text: Part['text']): Part {
    const { n } = this
    const elements = (model: number): Float64Array => {
      const value = of.value(model)
      return 'each' in value ? value.each : new Float64Array(n).fill(value.one)
    }
    if (name !== 'tensor_quantile') {
      const rule: Record<string, (x: Float64Array) => number> = {
        tensor_mean: (x) => sum(n, (i) => x[i]!) / n,
        tensor_norm: (x) => Math.sqrt(sum(n, (i) => x[i]! * x[i]!)),
        tensor_max: (x) => x.reduce((most, one) => Math.max(most, one), Number.NEGATIVE_INFINITY),
      }
      return this.part((model) => exactly(rule[name]!(elements(model)), false), text)
    }
    /** Indexes from the largest element on: as float32, NaN first, the lower index first among equal ones. */
    const order = (model: number): readonly number[] => {
      const x = Float32Array.from(elements(model))
      const key = (i: number): number => (Number.isNaN(x[i]!) ? Number.MAX_VALUE : x[i]!)
      return Array.from(x, (_, i) => i).sort((i, j) => (key(i) === key(j) ? i - j : key(j) > key(i) ? 1 : -1))
    }
    const count = (model: number): number => {
      const value = (q.complement ?? q).value(model) as { one: number }
      const short = Number((1 - value.one).toPrecision(15))
      const share = q.complement ? value.one : 1 - short === value.one ? short : 1 - value.one
      return Math.max(1, Math.floor(share * n))
    }
    return this.part(
      (model) => exactly(Math.fround(elements(model)[order(model)[count(model) - 1]!]!) + 0, false),
      text,
      {
        quantile: {
          of,
          above: (model) => {
            const kept = new Set(order(model).slice(0, count(model)))
            return Array.from({ length: n }, (_, i) => kept.has(i))
          },
        },
      },
    )
  }
}

const textOf = (part: Part, model: number): string =>
  part.sides ? `${part.sides[0].text(model)}${part.sides[1]}${part.sides[2].text(model)}` : part.text(model)

function middle(all: readonly number[], round: (x: number) => number): number {
  if (all.some(Number.isNaN)) return Number.NaN
  const sorted = [...all].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  const high = sorted[sorted.length >> 1]!
  const low = sorted[(sorted.length >> 1) - 1]!
  if (sorted.length % 2 === 1) return high
  const mean = round(round(low + high) * 0.5)
  return Number.isFinite(mean) ? mean : round(low * 0.5) + round(high * 0.5)
}

/** formula: see docs/formulas.md. An element that is not finite and the same in all inputs and the base stays where it gives NaN. */
export function formula(given: Given): Tensor {
  const result = new Reader(option(given, 'formula', ''), given).whole()
  const round = rounding(given.compute)
  const out = zeros(given.compute, given.inputs[0]!.length)
  const all = [...decoded(given), ...(given.base ? [baseOf(given)] : [])]
  for (let i = 0; i < out.length; i++) {
    const value = 'one' in result ? round(result.one) : result.each[i]!
    const shared =
      Number.isNaN(value) &&
      !Number.isFinite(all[0]![i]!) &&
      all.length > 1 &&
      all.every((x) => Object.is(x[i], all[0]![i]))
    out[i] = shared ? all[0]![i]! : value
  }
  return out
}
