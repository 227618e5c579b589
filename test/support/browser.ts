/** A real browser on report pages: Chromium, as a person would use it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'

const { findChromium } = (await import(new URL('../../../scripts/chromium.mjs', import.meta.url).href)) as {
  findChromium: () => string | undefined
}

/** Undefined where no browser is installed. */
export const BROWSER = findChromium()

const { source } = createRequire(import.meta.url)('axe-core') as { readonly source: string }

export interface Opened {
  readonly page: Page
  /** Errors of the script and of the policy, addresses that were asked for, and dialogs. */
  readonly seen: { readonly errors: string[]; readonly requests: string[]; readonly dialogs: string[] }
}

export interface Screen {
  readonly width: number
  readonly scheme?: 'light' | 'dark'
  /** Of the address, with `#`. */
  readonly hash?: string
}

let browser: Promise<Browser> | undefined
let folder: string | undefined

/** Opens a page from a file, as people do. */
export async function open(html: string, { width, scheme = 'light', hash = '' }: Screen): Promise<Opened> {
  // Containers have no sandbox for processes; the page is ours.
  browser ??= chromium.launch({ executablePath: BROWSER!, args: ['--no-sandbox'] })
  folder ??= mkdtempSync(path.join(os.tmpdir(), 'terge-browser-'))
  const file = path.join(folder, `${Math.random().toString(36).slice(2)}.html`)
  writeFileSync(file, html)
  const page = await (await browser).newPage({ viewport: { width, height: 900 }, colorScheme: scheme })
  const seen: Opened['seen'] = { errors: [], requests: [], dialogs: [] }
  page.on('console', (message) => {
    if (message.type() === 'error') seen.errors.push(message.text())
  })
  page.on('pageerror', (error) => seen.errors.push(String(error)))
  page.on('request', (request) => seen.requests.push(request.url()))
  page.on('dialog', (dialog) => {
    seen.dialogs.push(dialog.message())
    void dialog.dismiss()
  })
  await page.goto(`${pathToFileURL(file).href}${hash}`)
  return { page, seen }
}

export async function closeBrowser(): Promise<void> {
  await (await browser)?.close()
  if (folder) rmSync(folder, { recursive: true, force: true })
  browser = folder = undefined
}

/** What axe finds wrong, one line for each element. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(source)
  const found = await page.evaluate<{
    violations: { id: string; nodes: { html: string; failureSummary: string }[] }[]
  }>('axe.run()')
  return found.violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
  )
}

/** The height of the smallest visible text in pixels, drawings as they are scaled, and its text. */
export const smallestText = (page: Page): Promise<{ size: number; text: string }> =>
  page.evaluate(`(() => {
    let least = { size: Infinity, text: '' }
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const parent = node.parentElement
      if (node.textContent.trim() === '' || parent.closest('script, style, title, noscript')) continue
      if (parent.getClientRects().length === 0) continue
      const scale = parent.ownerSVGElement ? parent.getScreenCTM().a : 1
      const size = parseFloat(getComputedStyle(parent).fontSize) * scale
      if (size < least.size) least = { size, text: node.textContent }
    }
    return least
  })()`)
