/** Progress events are totals, at most 20 per second, and the last one of each step is passed on. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { RunEvent } from '../../src/execute/events.js'
import { paced } from '../../src/execute/paced.js'

const step = (name: string, fraction: number): RunEvent => ({ kind: 'step', step: name, text: `${fraction}`, fraction })

test('of very many events few are passed on, and the last one of each step and before other events', () => {
  const seen: RunEvent[] = []
  const { listen } = paced((event) => seen.push(event))
  const began = performance.now()
  for (let i = 0; i <= 10_000; i++) listen(step('a', i / 10_000))
  for (let i = 0; i < 10_000; i++) listen(step('b', i / 10_000))
  for (let i = 0; i < 10_000; i++) listen({ kind: 'progress', read: i, written: i, tensors: 0 })
  listen({ kind: 'phase', phase: 'publishing' })
  const seconds = (performance.now() - began) / 1000
  assert.ok(seen.length <= 8 + 20 * seconds, `${seen.length} events in ${seconds} s`)
  assert.ok(seen.some((event) => event.kind === 'step' && event.step === 'a' && event.fraction === 1))
  // How many events about progress stand between depends on how fast they came.
  assert.equal(seen.filter((event) => event.kind === 'step').at(-1), step('b', 0.9999))
  assert.equal(seen.slice(-2), [
    { kind: 'progress', read: 9999, written: 9999, tensors: 0 },
    { kind: 'phase', phase: 'publishing' },
  ])
})

test('what is held is passed on when nothing follows, and at the end', async () => {
  const seen: RunEvent[] = []
  const { listen, end } = paced((event) => seen.push(event))
  listen(step('a', 0.1))
  listen(step('a', 0.2))
  for (let i = 0; i < 100 && seen.length < 2; i++) await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(seen, [step('a', 0.1), step('a', 0.2)])
  listen(step('a', 0.3))
  listen(step('a', 0.4))
  end()
  assert.equal(seen.at(-1), step('a', 0.4))
})

test('an event right after one that was held waits for its turn', async () => {
  const seen: RunEvent[] = []
  const { listen, end } = paced((event) => {
    seen.push(event)
    // As soon as the timer has passed on the second one.
    if (seen.length === 2) listen(step('a', 0.3))
  })
  listen(step('a', 0.1))
  listen(step('a', 0.2))
  for (let i = 0; i < 100 && seen.length < 2; i++) await new Promise((resolve) => setTimeout(resolve, 1))
  assert.equal(seen, [step('a', 0.1), step('a', 0.2)])
  end()
  assert.equal(seen.at(-1), step('a', 0.3))
})

test.run()
