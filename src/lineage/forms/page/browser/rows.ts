/** The tensors as rows, from the page's compact data. */
import type { Json } from '../../../../core/json/shape.js'
import type { MergeData, PageData, ParametersData } from '../pageData.js'
import { byId } from './dom.js'

/** Lines of JSON in an element, each parsed when it is needed. */
class LazyLines<T> {
  private lines: string[] | undefined
  private readonly parsed = new Map<number, T>()

  constructor(private readonly id: string) {}

  at(index: number): T {
    this.lines ??= byId(this.id).textContent!.split('\n')
    const known = this.parsed.get(index)
    if (known !== undefined) return known
    const value = JSON.parse(this.lines[index]!) as T
    this.parsed.set(index, value)
    return value
  }
}

/** Everything that the page knows of its tensors. */
export class Store {
  readonly rows: readonly Row[]
  private readonly merges = new LazyLines<MergeData>('merges')
  private readonly parameters = new LazyLines<ParametersData>('parameters-of-merges')

  constructor(readonly data: PageData) {
    const { shared, names } = data.rows
    let name = ''
    this.rows = names.map((rest, index) => {
      name = name.slice(0, shared[index]!) + rest
      return new Row(data, index, name)
    })
  }

  merge(number: number): MergeData {
    return this.merges.at(number)
  }

  parametersOf([, parameters]: MergeData): [name: string, value: Json][] {
    const [names, ...values] = this.parameters.at(parameters)
    return this.data.parameterNames[names]!.map((name, index) => [name, values[index]!])
  }

  /** The weight of a row's first source, for sorting. */
  firstWeight({ merge }: Row): number {
    return this.merge(merge)[2][0]?.[2] ?? Number.NEGATIVE_INFINITY
  }
}

export class Row {
  private lowered: string | undefined

  constructor(
    private readonly data: PageData,
    readonly index: number,
    readonly name: string,
  ) {}

  /** For searches without regard to case. */
  get lower(): string {
    this.lowered ??= this.name.toLowerCase()
    return this.lowered
  }

  /** Index into the methods. */
  get method(): number {
    return this.data.rows.methods[this.index]!
  }

  /** The number of its way to be made. */
  get merge(): number {
    return this.data.rows.merges[this.index]!
  }

  get dtype(): string {
    return this.data.dtypes[this.data.rows.dtypes[this.index]!]!
  }

  get shape(): readonly number[] {
    return this.data.shapes[this.data.rows.shapes[this.index]!]!
  }

  get elements(): number {
    return this.shape.reduce((product, size) => product * size, 1)
  }

  get digest(): string | undefined {
    const digest = this.data.rows.digests[this.index]!
    if (digest === 0) return undefined
    return digest.includes(':') ? digest : this.data.algorithm + digest
  }

  get reason(): PageData['reasons'][number] | undefined {
    return this.data.reasons[this.data.rows.reasons[this.index]!]
  }

  get absent(): PageData['absents'][number] {
    return this.data.absents[this.data.rows.absents[this.index]!] ?? []
  }

  get notes(): readonly string[] {
    return this.data.notes[this.data.rows.notes[this.index]!] ?? []
  }

  get nonFinite(): number {
    return this.data.rows.nonFinite[this.index]!
  }

  /** Indexes into the page's rules. */
  get rules(): readonly number[] {
    return this.data.ruleSets[this.data.rows.rules[this.index]!] ?? []
  }
}
