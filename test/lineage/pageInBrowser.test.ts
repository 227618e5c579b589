/** The report page in a real browser: what a person clicks, on wide and narrow screens, with hostile names and very many tensors. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { reportHtml } from '../../src/lineage/forms/page/index.js'
import type { Lineage, LineageTensor } from '../../src/lineage/types.js'
import { BROWSER, closeBrowser, open, smallestText, violations } from '../support/browser.js'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'
import { sample } from './sample.js'

const RULES = `terge: 1
models: {prose: ${fixture('lm/prose')}, python: ${fixture('lm/python')}, c: ${fixture('lm/c')}}
filters: {exclude: "**.input_layernorm.weight"}
merge:
  method: linear
  rules:
    - match: "**.q_proj.weight"
      weights: {prose: [1, 0], python: [0, 1], c: 0.5}
    - match: "**.down_proj.weight"
      method: slerp
      models: [prose, python]
      parameters: {t: 0.25}
output: out
`
const PATH = `terge: 1
models: {first: ${fixture('digits/mlp256-0.safetensors')}, second: ${fixture('digits/mlp256-1.safetensors')}}
steps:
  moved: {rebasin: {model: second, onto: first, spec: chain, max_iterations: 2}}
  path: {interpolate: {from: first, to: moved, points: 3, keep: false, evaluate: {command: [node, e.mjs, "{model}"]}}}
output: out
`
const EVALUATE = `const t = Number(/t-(\\d\\.\\d+)/.exec(process.argv[2])[1])
console.log(JSON.stringify({ loss: 1 + 4 * t * (1 - t), accuracy: 0.9 + t / 20 }))
`

/** The page of a recipe's output. */
const pageOf = (recipe: string): Promise<string> =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'r.yml'), recipe)
    writeFileSync(path.join(folder, 'e.mjs'), EVALUATE)
    const ran = await terge(['run', 'r.yml', '--allow-commands'], folder)
    assert.is(ran.code, 0, ran.err)
    const reported = await terge(['report', 'out'], folder)
    assert.is(reported.code, 0, reported.err)
    return reported.out
  })

const pages: { rules?: Promise<string>; path?: Promise<string> } = {}
const rulesPage = (): Promise<string> => (pages.rules ??= pageOf(RULES))
const pathPage = (): Promise<string> => (pages.path ??= pageOf(PATH))

const test = suite('the report page in a browser')
test.after(closeBrowser)

const tests: Record<string, () => Promise<void>> = {
  'a search selects tensors, stays in the address, and comes back with it': async () => {
    const { page, seen } = await open(await rulesPage(), { width: 1280 })
    const count = page.locator('#count')
    assert.is(await count.textContent(), '39 tensors')
    await page.fill('#search', 'down_proj')
    assert.is(await count.textContent(), '4 of 39 tensors')
    assert.match(page.url(), /#tensors\?search=down_proj$/)
    await page.fill('#search', '/layers\\.[01]\\..*down/')
    assert.is(await count.textContent(), '2 of 39 tensors')
    await page.reload()
    assert.is(await count.textContent(), '2 of 39 tensors')
    assert.is(await page.inputValue('#search'), '/layers\\.[01]\\..*down/')
    await page.click('#clear')
    assert.is(await count.textContent(), '39 tensors')
    assert.equal(seen.errors, [])
    // A link leads to the table itself.
    for (const width of [1280, 400]) {
      const { page: linked } = await open(await rulesPage(), { width, hash: '#tensors?search=layers.1' })
      const top = await linked.evaluate<number>('document.getElementById("tensors").getBoundingClientRect().top')
      assert.ok(top >= 0 && top < 100, `${top}`)
    }
  },

  'a wrong search expression selects nothing and says so': async () => {
    const { page } = await open(await rulesPage(), { width: 1280 })
    await page.fill('#search', '/(/')
    assert.match((await page.textContent('#wrong'))!, /not a regular expression.*Unterminated group/)
    assert.is(await page.textContent('#count'), '0 of 39 tensors')
    assert.is(await page.getAttribute('#search', 'aria-invalid'), 'true')
    await page.fill('#search', 'lm_head')
    assert.is(await page.textContent('#wrong'), '')
    assert.is(await page.locator('#rows tr').count(), 1)
  },

  'from a rule to its tensors, from a tensor to its rule, and from a reason to its tensors and its filter':
    async () => {
      const { page, seen } = await open(await rulesPage(), { width: 1280 })
      await page.click('#step-1-rule-2 a')
      assert.is(await page.textContent('#count'), '4 of 39 tensors')
      assert.is(await page.inputValue('#rule'), 'merge/2')
      await page.locator('#rows .name').first().click()
      assert.is(await page.locator('#rows .name').first().getAttribute('aria-expanded'), 'true')
      await page.click('.detail >> text=rule 2 of merge')
      assert.match(page.url(), /#step-1-rule-2$/)
      await page.click('#copies >> text=excluded by filters')
      assert.is(await page.textContent('#count'), '4 of 39 tensors')
      assert.is(await page.inputValue('#which'), 'excluded')
      await page.click('#copies >> text=exclude **.input_layernorm.weight')
      assert.match(page.url(), /#step-1$/)
      await page.goBack()
      assert.is(await page.inputValue('#which'), 'excluded')
      assert.equal(seen.errors, [])
    },

  'a label of a heat map shows its tensors, and a column sorts': async () => {
    const { page } = await open(await rulesPage(), { width: 1280 })
    await page.locator('#layers svg a', { hasText: 'self_attn.q_proj' }).first().click()
    assert.is(await page.textContent('#count'), '4 of 39 tensors')
    await page.click('th[data-sort=weight] button')
    await page.click('th[data-sort=weight] button')
    assert.is(await page.getAttribute('th[data-sort=weight]', 'aria-sort'), 'descending')
    assert.match((await page.locator('#rows .name').first().textContent())!, 'layers.0.self_attn.q_proj')
    assert.match(page.url(), 'sort=weight&order=down')
  },

  'the page of a path has curves, barriers and permutations': async () => {
    const { page, seen } = await open(await pathPage(), { width: 1280, scheme: 'dark' })
    assert.is(await page.locator('#evaluations .curve').count(), 4)
    assert.match((await page.textContent('#evaluations'))!, 'barrier 1 at t = 0.5')
    assert.is(await page.locator('#alignments .permutation').count(), 3)
    assert.is(await page.locator('#evaluations tbody tr').count(), 3)
    assert.equal(seen.errors, [])
  },

  'nothing keeps people out, on wide and on narrow screens, with details open': async () => {
    const screens = [
      [await rulesPage(), { width: 1280, scheme: 'light' }],
      [await rulesPage(), { width: 400, scheme: 'dark' }],
      [await pathPage(), { width: 400, scheme: 'light' }],
      [await pathPage(), { width: 1280, scheme: 'dark' }],
    ] as const
    for (const [html, screen] of screens) {
      const { page } = await open(html, screen)
      await page.locator('#rows .name').first().click()
      assert.equal(await violations(page), [], `${screen.width} ${screen.scheme}`)
      await page.close()
    }
  },

  'narrow screens need no horizontal scrolling, and no text is too small to read': async () => {
    for (const html of [await rulesPage(), await pathPage()])
      for (const width of [320, 400, 780, 1100]) {
        const { page } = await open(html, { width })
        await page.locator('#rows .name').first().click()
        assert.ok((await page.evaluate<number>('document.documentElement.scrollWidth')) <= width, `${width}`)
        const { size, text } = await smallestText(page)
        assert.ok(size >= 8, `${size} pixels at ${width}: ${text}`)
        await page.close()
      }
  },

  'hostile names are text: nothing runs, nothing is loaded, nothing leaves the page': async () => {
    const { page, seen } = await open(reportHtml(hostile()), { width: 1280 })
    await page.evaluate('document.querySelectorAll("#rows .name").forEach((name) => name.click())')
    assert.equal(await page.evaluate('[document.images.length, document.scripts.length, typeof pwned]'), [
      0,
      4,
      'undefined',
    ])
    assert.equal([seen.errors, seen.dialogs, seen.requests.length], [[], [], 1])
    assert.is(await page.locator('#rows .name').count(), 3)
    assert.is(await page.evaluate('document.querySelectorAll("a:not([href^=\\\\#]):not([href^=https])").length'), 0)
    const { page: other } = await open(reportHtml(hostile()), {
      width: 400,
      hash: `#tensors?search=${encodeURIComponent(EVIL)}&method=x&rule=y&sort=__proto__&page=-9`,
    })
    assert.is(await other.textContent('#count'), '3 of 3 tensors')
  },

  'with 50,000 tensors, the first page, the last one and a search are there': async () => {
    const { page, seen } = await open(reportHtml(large(50_000)), { width: 1280 })
    assert.is(await page.textContent('#count'), '50\u2009000 tensors')
    assert.is(await page.locator('#rows tr').count(), 100)
    await page.fill('#search', 'experts.831.')
    assert.is(await page.textContent('#count'), '60 of 50\u2009000 tensors')
    await page.click('#clear')
    await page.click('#after')
    assert.is(await page.textContent('#page'), 'page 2 of 500')
    assert.equal(seen.errors, [])
  },
}

const EVIL = '"><img src=x onerror="pwned=1"><script>pwned=1</script>'

function hostile(): Lineage {
  const tensor: LineageTensor = {
    ...{ method: EVIL, parameters: { [EVIL]: EVIL, density: [0.5] }, absent: [{ model: EVIL, reason: 'shape' }] },
    ...{ sources: [{ model: EVIL, tensor: EVIL, weight: 1 }], dtype: 'F32', shape: [2], digest: null, notes: [EVIL] },
  }
  const file = { name: EVIL, size: 1, digest: null }
  return {
    ...sample,
    recipe: { ...sample.recipe, text: EVIL, set: [EVIL] },
    models: { [EVIL]: { index: 0, reference: `javascript:${EVIL}`, files: [file] } },
    steps: {
      [EVIL]: {
        ...{ kind: 'merge', base: EVIL, method: EVIL, models: [EVIL], rules: [{ method: EVIL, models: [EVIL] }] },
        patterns: [{ pattern: EVIL, where: 'rule', rule: 0, matches: 1, applies: 1 }],
      },
    },
    tensors: {
      [EVIL]: tensor,
      [`layers.0.${EVIL}`]: tensor,
      [`layers.1.${EVIL}`]: { ...tensor, method: 'copy', reason: 'excluded' },
    },
    output: { ...sample.output, from: EVIL, files: [file], tensors: 3 },
    evaluations: { [EVIL]: 1 },
  }
}

/** A mixture of experts whose tensors all have weights of their own. */
function large(count: number): Lineage {
  const tensors: Record<string, LineageTensor> = {}
  for (let index = 0; index < count; index++) {
    const name = `model.layers.${index % 60}.mlp.experts.${Math.floor(index / 60)}.down_proj.weight`
    const weight = (index + 1) / (count + 1)
    tensors[name] = {
      ...{ method: 'linear', parameters: { normalize: true }, dtype: 'BF16', shape: [2048, 7168] },
      sources: [
        { model: 'a', tensor: name, weight },
        { model: 'b', tensor: name, weight: 1 - weight },
      ],
      digest: `xxh3t:${((index + 1) * 2654435761).toString(16).padStart(32, '0')}`,
    }
  }
  return { ...sample, tensors, output: { ...sample.output, tensors: count } }
}

if (BROWSER) for (const [name, run] of Object.entries(tests)) test(name, run)
else
  test('no browser is installed', () => {
    console.log('\nskipped: the report page in a browser. Install Chromium, or write its path to CHROMIUM')
  })

test.run()
