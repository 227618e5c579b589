/** Units as a union-find. */

/** Whole numbers by id. Grows by doubling. */
export class Column {
  values = new Int32Array(1024)
  length = 0

  add(count: number, of: (id: number) => number): void {
    const end = this.length + count
    if (end > this.values.length) {
      const larger = new Int32Array(Math.max(end, this.values.length * 2))
      larger.set(this.values)
      this.values = larger
    }
    for (let id = this.length; id < end; id++) this.values[id] = of(id)
    this.length = end
  }
}

/** A union-find. The root of a unit is its smallest id. */
export class Forest extends Column {
  find(id: number): number {
    const { values } = this
    let root = id
    while (values[root]! !== root) root = values[root]!
    for (let at = id; at !== root; ) {
      const next = values[at]!
      values[at] = root
      at = next
    }
    return root
  }

  join(x: number, y: number): void {
    const [a, b] = [this.find(x), this.find(y)]
    if (a < b) this.values[b] = a
    else this.values[a] = b
  }
}
