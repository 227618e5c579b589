/** The stack machine that runs pickles. Instructions that would import or call something only make inert records. */
import { ITEM_COST, persistent, reduce } from './globals.js'
import { type PickleReader, RECORD_COST, VALUE_COST } from './pickleReader.js'
import { isDict, isGlobal, isOpaque, isStorage, isTensor, type StorageRef, type Value } from './values.js'

const LIST_COST = 64
const DICT_COST = 280
/** Maximum length of the name of a global. No known global is longer. */
const MAX_NAME = 1024

export class PickleMachine {
  private readonly stack: Value[] = []
  /** Heights of the stack at the open marks. */
  private readonly marks: number[] = []
  private readonly memo = createMemo()
  private floor = 0

  constructor(
    private readonly reader: PickleReader,
    private readonly onStorage: ((storage: StorageRef) => void) | undefined,
  ) {}

  push(value: Value): void {
    this.stack.push(value)
  }

  mark(): void {
    this.marks.push(this.stack.length)
    this.floor = this.stack.length
  }

  /** Drops the top value, or the last mark if no value is above it. */
  drop(): void {
    if (this.stack.length > this.floor) this.stack.pop()
    else this.popMark()
  }

  memoize(): void {
    this.put(this.memo.size())
  }

  list(items: Value[]): Value[] {
    this.reader.charge(LIST_COST + 8 * items.length)
    return items
  }

  dict(items: readonly Value[]): Map<Value, Value> {
    this.reader.charge(DICT_COST)
    const made = new Map<Value, Value>()
    this.setItems(made, items)
    return made
  }

  global(module: Value, member: Value): Value {
    if (typeof module !== 'string' || typeof member !== 'string') throw this.reader.damaged('a global has no name')
    if (module.length + member.length > MAX_NAME) throw this.reader.damaged('the name of a global is too long')
    this.reader.charge(RECORD_COST)
    return { kind: 'global', name: `${module}.${member}` }
  }

  pop(): Value {
    if (this.stack.length <= this.floor) throw this.reader.damaged('it pops from an empty stack')
    return this.stack.pop()!
  }

  top(): Value {
    if (this.stack.length <= this.floor) throw this.reader.damaged('it reads from an empty stack')
    return this.stack[this.stack.length - 1]!
  }

  popMark(): Value[] {
    const mark = this.marks.pop()
    if (mark === undefined) throw this.reader.damaged('it uses a mark that was never set')
    this.floor = this.marks.at(-1) ?? 0
    return this.stack.splice(mark)
  }

  args(value: Value): Value[] {
    if (!Array.isArray(value)) throw this.reader.damaged('the arguments of a call are not a tuple')
    return value
  }

  tuple(length: number): Value[] {
    const items: Value[] = new Array(length).fill(null)
    for (let index = length - 1; index >= 0; index--) items[index] = this.pop()
    return this.list(items)
  }

  call(callee: Value, values: Value[]): void {
    if (!isGlobal(callee) && !isOpaque(callee))
      throw this.reader.damaged('it calls something that is not a class or function')
    this.reader.charge(RECORD_COST + (values.length === 0 ? DICT_COST : 0))
    this.stack.push(reduce(callee, values, this.reader.charge))
  }

  append(target: Value, items: readonly Value[]): void {
    const into = Array.isArray(target) ? target : isOpaque(target) ? target.parts : undefined
    if (!into) throw this.reader.damaged('it appends to something that is not a list')
    this.reader.charge(8 * items.length)
    for (const item of items) into.push(item)
  }

  setItems(target: Value, items: readonly Value[]): void {
    if (items.length % 2 !== 0) throw this.reader.damaged('a key has no value')
    if (!isDict(target)) {
      if (!isOpaque(target)) throw this.reader.damaged('it sets items of something that is not a dictionary')
      this.append(target, items)
      return
    }
    this.reader.charge((items.length / 2) * ITEM_COST)
    for (let index = 0; index < items.length; index += 2) target.set(items[index]!, items[index + 1]!)
  }

  /** Sets the state of an object. The state of a dictionary (`_metadata`) is ignored: it holds no weights. */
  build(target: Value, state: Value): void {
    if (isOpaque(target)) this.append(target, [state])
    else if (isTensor(target)) {
      if (state !== null && !isDict(state)) target.problem = 'its class sets its own state'
    } else if (!isDict(target) && !isGlobal(target))
      throw this.reader.damaged('it sets the state of an object that has none')
  }

  get(index: number): void {
    const value = this.memo.get(index)
    if (value === undefined) throw this.reader.damaged(`it reads memo entry ${index}, which was never set`)
    this.stack.push(value)
  }

  put(index: number): void {
    this.reader.charge(3 * VALUE_COST)
    this.memo.set(index, this.top())
  }

  persist(id: Value): void {
    this.reader.charge(RECORD_COST)
    const loaded = persistent(id)
    if ('problem' in loaded) throw this.reader.damaged(loaded.problem)
    if (isStorage(loaded.value)) this.onStorage?.(loaded.value)
    this.stack.push(loaded.value)
  }
}

interface Memo {
  get(index: number): Value | undefined
  set(index: number, value: Value): void
  size(): number
}

/** The memo of a pickle. Indices usually count up from 0, so a list holds nearly all values; a map holds the rest. */
function createMemo(): Memo {
  const dense: Value[] = []
  const sparse = new Map<number, Value>()
  return {
    get: (index) => (index < dense.length ? dense[index] : sparse.get(index)),
    set(index, value) {
      if (index < dense.length) dense[index] = value
      else if (index > dense.length) sparse.set(index, value)
      else {
        dense.push(value)
        sparse.delete(index)
      }
    },
    size: () => dense.length + sparse.size,
  }
}
