/** Lists the objects of a bucket. */
import { fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { leadsDown } from '../leadsDown.js'
import { bodyOf, MOST_QUESTIONS, patiently, RequestError } from '../remote/request.js'
import type { RemoteFile } from '../remote/types.js'
import { type S3Subject, s3Fault } from './faults.js'
import { s3Request } from './request.js'
import type { S3Settings } from './settings.js'
import { childText, type Element, parseXml } from './xml.js'

/** An object, as the store lists it. */
export interface S3File extends RemoteFile {
  /** Relative to the prefix of the list. */
  readonly name: string
  readonly key: string
  /** As the store writes it, with quotation marks. Identifies the content. */
  readonly etag: string
}

export interface ListOptions {
  /** Whether to list everything below the prefix, and not only what is directly in its folder. */
  readonly deep?: boolean
  readonly signal?: AbortSignal | undefined
}

/** Maximum objects of one list. Far above any model's; stops endless lists. */
const MOST_OBJECTS = 100_000
/** Maximum bytes of one page, which has at most 1000 entries. */
const MOST_PAGE = 16 * 2 ** 20

/** The objects whose keys start with `prefix`, which is empty or ends with a slash. Errors: those of `s3Fault`, `path-escape`, `too-large`. */
export async function listObjects(
  settings: S3Settings,
  subject: S3Subject,
  prefix: string,
  { deep = false, signal }: ListOptions = {},
): Promise<S3File[]> {
  const found: S3File[] = []
  const asked = new Set<string>()
  for (let token: string | undefined = ''; token !== undefined; ) {
    if (asked.has(token) || asked.size * 1000 > MOST_OBJECTS)
      throw s3Fault(new RequestError('the list of objects does not end'), settings, subject)
    asked.add(token)
    const page = await pageOf(
      settings,
      subject,
      {
        'list-type': '2',
        'encoding-type': 'url',
        prefix,
        ...(deep ? {} : { delimiter: '/' }),
        ...(token === '' ? {} : { 'continuation-token': token }),
      },
      signal,
    )
    for (const { key, ...rest } of page.objects) {
      const name = key.slice(prefix.length)
      // The console makes empty objects for folders.
      if (!key.startsWith(prefix) || name === '' || name.endsWith('/')) continue
      if (!leadsDown(name)) throw badName(subject, name)
      found.push({ name, key, ...rest })
    }
    if (found.length > MOST_OBJECTS)
      throw fault(
        'too-large',
        `${subject.reference}: more than ${MOST_OBJECTS} objects: no real model has that many`,
        'write the folder of the model',
      )
    token = page.next
  }
  return found
}

/** The object with this key; undefined if there is none. Errors: those of `s3Fault`. */
export async function findObject(
  settings: S3Settings,
  subject: S3Subject,
  key: string,
  signal?: AbortSignal,
): Promise<S3File | undefined> {
  // A key comes before all others that start with it.
  const { objects } = await pageOf(
    settings,
    subject,
    {
      ...{ 'list-type': '2', 'encoding-type': 'url', prefix: key, 'max-keys': '1' },
    },
    signal,
  )
  const [first] = objects
  return first?.key === key ? { ...first, name: key.slice(key.lastIndexOf('/') + 1) } : undefined
}

const badName = ({ reference }: S3Subject, name: string) =>
  fault(
    'path-escape',
    `${reference}: the store has an object ${quote(name)}, which is not a valid file name`,
    'rename it, or copy the model to a folder of its own',
  )

type Listed = Pick<S3File, 'key' | 'size' | 'etag'>

async function pageOf(
  settings: S3Settings,
  subject: S3Subject,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal | undefined,
): Promise<{ readonly objects: readonly Listed[]; readonly next?: string }> {
  const { bucket } = subject
  try {
    const body = await patiently(async () => bodyOf(await s3Request(settings, { bucket, query, signal }), MOST_PAGE), {
      most: MOST_QUESTIONS,
      signal,
    })
    return readPage(body.toString('utf8'))
  } catch (error) {
    throw s3Fault(error, settings, subject)
  }
}

function readPage(document: string): { readonly objects: readonly Listed[]; readonly next?: string } {
  const root = parseXml(document)
  if (root.name !== 'ListBucketResult') throw new RequestError('the answer is not a list of objects')
  const coded = childText(root, 'EncodingType') === 'url'
  const objects = root.children.filter(({ name }) => name === 'Contents').map((entry) => readEntry(entry, coded))
  if (childText(root, 'IsTruncated') !== 'true') return { objects }
  const next = childText(root, 'NextContinuationToken')
  if (next === undefined || next === '') throw new RequestError('the list of objects does not say how it continues')
  return { objects, next }
}

function readEntry(entry: Element, coded: boolean): Listed {
  const [key, size, etag] = ['Key', 'Size', 'ETag'].map((name) => childText(entry, name))
  if (key === undefined || !/^\d{1,16}$/.test(size ?? '') || !/^[\x21-\x7e]{1,200}$/.test(etag ?? ''))
    throw new RequestError('the list of objects has no key, size or ETag')
  // Some stores list it without the quotation marks that If-Match needs.
  return { key: coded ? decoded(key) : key, size: Number(size), etag: etag!.startsWith('"') ? etag! : `"${etag}"` }
}

function decoded(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '))
  } catch {
    throw new RequestError('the list of objects has an invalid key')
  }
}
