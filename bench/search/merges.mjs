// Merges by terge's API and their metrics: many merges per run, one evaluating process.
import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))

/** `evaluate(folder)` gives the metrics of a model; `end()` stops the process. */
export function evaluator(python, passages, work) {
  const file = path.join(work, 'passages.json')
  writeFileSync(file, JSON.stringify(passages))
  const child = spawn(python, [path.join(here, 'evaluate.py'), file], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    async evaluate(folder) {
      child.stdin.write(`${folder}\n`)
      const { value, done } = await lines.next()
      if (done) throw new Error('the evaluating process ended')
      return JSON.parse(value)
    },
    end: () => child.stdin.end(),
  }
}

/** Metrics that an earlier study of the same merges on the same passages left in a file. */
function remembered(file, identity) {
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
  if (lines[0] !== JSON.stringify(identity)) {
    writeFileSync(file, `${JSON.stringify(identity)}\n`)
    return new Map()
  }
  return new Map(lines.slice(1).map((line) => JSON.parse(line)))
}

/**
 * Metrics of merges by their points. `recipe` gives the recipe that makes several of them: step and output `tN` is merge N. What was
 * measured once is remembered.
 */
export async function measured({ recipe, passages, python, work }) {
  const { plan, run } = await import('../../dist/src/index.js')
  const { evaluate, end } = evaluator(python, passages, work)
  const log = path.join(work, 'metrics.jsonl')
  const known = remembered(log, { recipe: recipe([[]]), passages })
  const [file, outputs] = [path.join(work, 'recipe.yml'), path.join(work, 'out')]
  mkdirSync(outputs, { recursive: true })
  return {
    end,
    evaluate,
    async measure(points) {
      const keys = points.map((point) => JSON.stringify(point))
      const missing = [...new Set(keys)].filter((key) => !known.has(key))
      if (missing.length > 0) {
        const prepared = await plan(file, { text: recipe(missing.map((key) => JSON.parse(key))) })
        await run(prepared, { force: true, sync: false, digests: 'none', threads: 1 })
      }
      for (const [index, key] of missing.entries()) {
        known.set(key, await evaluate(path.join(outputs, `t${index}`)))
        appendFileSync(log, `${JSON.stringify([key, known.get(key)])}\n`)
      }
      return keys.map((key) => known.get(key))
    },
  }
}
