/** A map whose values are made of another map's when they are asked for: of very many values, none is kept. */
export class MappedMap<K, From, To> implements ReadonlyMap<K, To> {
  constructor(
    private readonly from: ReadonlyMap<K, From>,
    private readonly make: (value: From) => To,
  ) {}

  get size(): number {
    return this.from.size
  }

  has(key: K): boolean {
    return this.from.has(key)
  }

  get(key: K): To | undefined {
    const value = this.from.get(key)
    return value === undefined ? undefined : this.make(value)
  }

  keys(): MapIterator<K> {
    return this.from.keys()
  }

  *values(): Generator<To, undefined> {
    for (const value of this.from.values()) yield this.make(value)
  }

  *entries(): Generator<[K, To], undefined> {
    for (const [key, value] of this.from) yield [key, this.make(value)]
  }

  [Symbol.iterator](): MapIterator<[K, To]> {
    return this.entries()
  }

  forEach(visit: (value: To, key: K, map: ReadonlyMap<K, To>) => void): void {
    for (const [key, value] of this) visit(value, key, this)
  }
}
