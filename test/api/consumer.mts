/** Uses every export of terge as a program of somebody else would. It is compiled by types.test.ts, against the built declarations. */
import {
  type AgainstOptions,
  type Change,
  compareLineages,
  comparePlans,
  type Difference,
  type FileChange,
  type NamedChange,
  type OutputDifference,
  type Range,
  type Sameness,
  type TensorGroup,
  type AbsentReason,
  type AdapterUpdates,
  type Analysis,
  type AnalysisCost,
  barrier,
  type BlockWeightOptions,
  type Checkpoint,
  type CheckpointFacts,
  checkpointFacts,
  type Conversion,
  conversionRecipe,
  type CopyReason,
  type Deviation,
  type Diagnostic,
  diff,
  type DiffOptions,
  drop,
  type Dtype,
  type ErrorCode,
  type Expr,
  familyOf,
  Fault,
  type FetchOptions,
  findMethod,
  type FinishOptions,
  type CheckOptions,
  checkParts,
  finishParts,
  formatDiagnostic,
  importBlockWeights,
  importMergekit,
  type ImportOptions,
  init,
  inspect,
  type KnownLayout,
  type LayerDifference,
  type Lineage,
  type ListedTensor,
  listedTensors,
  type Listener,
  listLayouts,
  listMethods,
  load,
  type Loaded,
  type LoadOptions,
  lock,
  type Lock,
  type Locked,
  type LockOptions,
  type LogicalTensor,
  measuredPaths,
  type Method,
  type MethodFamily,
  type ModelDifference,
  type ModelFacts,
  type ModelLayout,
  modelLayouts,
  type NewRecipeOptions,
  type OneLine,
  type OpenedRecipe,
  openRecipe,
  type OverallDifference,
  type ParameterSchema,
  type PathPoint,
  type PathSummary,
  type PatternCount,
  permutationSpec,
  type PermutationSpec,
  type Place,
  type Plan,
  plan,
  type PlanCheck,
  planGraph,
  type PlanGraph,
  type PlannedTensor,
  plannedTensors,
  planOpened,
  type PlanOptions,
  type PlanOutput,
  type PlanTensor,
  type PlanView,
  type Prepared,
  type ReadExpr,
  readPath,
  readPathOf,
  type RebasinAnalysis,
  type Recipe,
  recipeAsData,
  recipeOf,
  type RecipeSource,
  type RepairAnalysis,
  report,
  REPORT_FORMS,
  type ReportForm,
  type ReportOptions,
  type Point,
  run,
  search,
  type SearchEvent,
  type SearchListener,
  type SearchOptions,
  type SearchRecord,
  type SearchResult,
  type Trial,
  type TrialData,
  type RunEvent,
  type RunOptions,
  type RunResult,
  runPart,
  type PartChoice,
  type DigestOptions,
  type Digests,
  type PartOptions,
  type PartResult,
  type Series,
  type Shapes,
  type Spec,
  type SpecText,
  startAhead,
  stepLine,
  stepNotes,
  type StoredTensor,
  type TensorDifference,
  validate,
  type ValidateOptions,
  type InputSignature,
  type Verified,
  verify,
  type VerifyOptions,
  type View,
  type ViewOptions,
  viewPlan,
  type MoeAnalysis,
  type TransplantAnalysis,
  type ZipAnalysis,
  type BoundedRun,
  type DownloadOptions,
  type CycloneDxVersion,
  type Downloads,
  type NotRead,
  planDownloads,
  planLicenses,
  type Trace,
  type TraceOptions,
  type TraceSource,
  type TraceStep,
  type TraceWeight,
  trace,
  type SignatureOptions,
  type License,
  type ModelLicense,
  type Signed,
  type SignOptions,
  sign,
} from 'terge'

declare const signal: AbortSignal
declare const show: (...shown: readonly unknown[]) => void
const listen: Listener = (event: RunEvent) => {
  const figures: number[] = []
  switch (event.kind) {
    case 'start':
      figures.push(event.read, event.write, event.tensors, event.threads, event.done)
      break
    case 'progress':
      figures.push(event.read, event.written, event.tensors)
      break
    case 'step':
      figures.push(event.fraction ?? 0, event.text.length, event.step.length)
      break
    case 'notice':
      figures.push(event.message.length)
      break
    case 'warning':
      figures.push(formatDiagnostic(event.diagnostic).length)
      break
    case 'phase':
      figures.push(event.phase === 'merging' ? 0 : 1)
      break
    case 'output':
      figures.push(event.path.length, event.bytes, event.tensors)
      break
    case 'end':
      figures.push(event.seconds)
  }
}

const loading: LoadOptions = {
  set: ['merge.weights.a=2'],
  text: 'terge: 1',
  name: 'recipe.yml',
  output: 'out.safetensors',
  known: new Map([['a', ['w']]]),
  rows: new Map([['a', 2]]),
  strict: true,
}
const source: RecipeSource = { terge: 1, models: { a: 'a', b: 'b' }, merge: { method: 'linear' }, output: 'out' }

export function loadedRecipe(): Recipe | undefined {
  const loaded: Loaded = load(source, loading)
  const diagnostics: readonly Diagnostic[] = loaded.diagnostics
  const places: readonly (Place | undefined)[] = diagnostics.map(({ place }) => place)
  const codes: readonly ErrorCode[] = diagnostics.map(({ code }) => code)
  return places.length + codes.length > 0 ? loaded.draft : loaded.recipe
}

export async function validated(): Promise<Plan | undefined> {
  const options: ValidateOptions = { ...loading, models: false }
  const { diagnostics, plan: planned } = await validate('recipe.yml', options)
  return diagnostics.some(({ severity }) => severity === 'error') ? undefined : planned
}

export async function planned(): Promise<Prepared> {
  const options: PlanOptions = { ...loading, locked: true, commits: new Map([['a', 'f00']]) }
  const opened: OpenedRecipe = await openRecipe(source, options)
  const first = await planOpened(opened)
  const second = await plan('recipe.yml')
  const keys = new Set([...plannedTensors(first.plan)].map(({ key }: PlannedTensor) => key))
  return [...plannedTensors(second.plan)].every(({ key }) => keys.has(key)) ? first : second
}

export const digestsOf = (digests: Digests): DigestOptions => ({ digests })

export async function ran(prepared: Prepared): Promise<RunResult> {
  const options: Required<RunOptions> = {
    threads: 2,
    memory: 1e9,
    resume: true,
    work: 'work',
    disk: 1e9,
    force: true,
    sync: false,
    digests: true,
    strict: true,
    sha256: true,
    checksums: true,
    commands: 'skip',
    listen,
    signal,
  }
  startAhead(2)
  const result: RunResult = await run(prepared, options)
  for (const { path, lineagePath, lineage, bytes } of result.outputs) {
    const made: Lineage = lineage
    const digest: string | null = made.output.digest
    const tensor = lineage.tensors['w']
    show(Object.entries(made.steps).map(([name, step]) => [stepLine(name, step), ...stepNotes(step)]))
    show(path, lineagePath, bytes, digest, tensor?.sources.map(({ model, weight }) => `${model} ${weight}`))
  }
  show(result.warnings.map(formatDiagnostic), result.seconds)
  const choices: PartChoice[] = ['analyse', { index: 0, of: 1 }]
  const parts: PartOptions = { threads: 2, work: 'work', listen }
  for (const choice of choices) {
    const part: PartResult = await runPart(prepared, choice, parts)
    show(part.work, part.tensors, part.bytes, part.warnings.length, part.seconds)
  }
  const checking: CheckOptions = { ...parts, models: true, elsewhere: false }
  const checked = await checkParts('recipe.yml', 2, checking)
  show(checked.diagnostics.length, checked.notes.join())
  const finishing: FinishOptions = { work: 'work', sha256: true }
  show((await finishParts(prepared, finishing)).outputs.length)
  return result
}

export async function locked(): Promise<Lock> {
  const options: LockOptions = { ...loading, listen, signal, threads: 2 }
  const made: Locked = await lock('recipe.yml', options)
  show(made.path, made.text, made.diagnostics.length)
  return made.lock
}

export async function verified(lineagePath: string): Promise<boolean> {
  const options: Required<VerifyOptions> = {
    key: 'pub.pem',
    certificate: 'ca.pem',
    signature: 'model.sig',
    ignore: ['cache'],
    recipeFolder: '.',
    reproduce: true,
    allowCommands: true,
    listen,
    threads: 2,
    memory: 1e9,
    signal,
  }
  const result: Verified = await verify(lineagePath, options)
  show(result.problems.map(formatDiagnostic), result.checked.files, result.checked.bytes, result.recipeFolder)
  const signing: Required<SignOptions> = { key: 'key.pem', ignore: ['notes'], attest: true, force: true, listen, signal }
  const { path, text, files, attestation }: Signed = await sign('merged', signing)
  const checks: SignatureOptions = { key: 'pub.pem' }
  show(path, text, files, attestation?.path, result.attested, checks.key, result.signed, result.lineage)
  const states: readonly InputSignature[] = Object.values(result.inputs ?? {})
  show(...states)
  return result.ok && result.reproduced === true
}

export async function searched(): Promise<SearchResult> {
  const tell: SearchListener = (event: SearchEvent | RunEvent) => show(event.kind)
  const options: Required<SearchOptions> = {
    ...{ set: ['search.trials=9'], output: 'out', threads: 1, memory: 1e9, resume: true, force: true, work: 'w', sync: true },
    ...{ commands: 'run', listen: tell, signal },
  }
  const result = await search('recipe.yml', options)
  const record: SearchRecord = result.record
  const trials: readonly Trial[] = record.trials
  const point: Point | undefined = trials[0]?.point
  const best: TrialData = result.best
  show(point, best.metrics['loss'], result.repeat.sameDigest, result.files.page, result.run.outputs[0]?.path)
  return result
}

export async function compared(): Promise<readonly TensorDifference[]> {
  const fetching: FetchOptions = { listen, signal }
  const options: Required<DiffOptions> = {
    threads: 1,
    listen,
    signal: fetching.signal ?? signal,
    filter: (name) => name.startsWith('model.'),
  }
  const { overall, layers, tensors, notRead = [] }: ModelDifference = await diff('a', 'hf:org/b@main', options)
  show(notRead.map(({ layout, as, why }: NotRead) => `${layout} ${as} ${why}`))
  const whole: OverallDifference = overall
  show(whole.tensors, whole.states.equal, whole.cosine, whole.l2)
  for (const { stack, layer, relativeL2 } of layers satisfies readonly LayerDifference[]) show(stack, layer, relativeL2)
  for (const { tensor, state, cosine, relativeL2, largest } of tensors) show(tensor, state, cosine, relativeL2, largest)
  return tensors
}

export async function inspected(): Promise<CheckpointFacts> {
  const checkpoint: Checkpoint = await inspect('a')
  const tensors: readonly LogicalTensor[] = [...checkpoint.tensors.values()]
  const stored: readonly StoredTensor[] = [...checkpoint.stored.values()]
  const views: readonly View[] = tensors.map(({ view }) => view)
  show(stored.length, views.length)
  const dtypes: readonly Dtype[] = tensors.map(({ dtype }) => dtype)
  const shapes: Shapes = checkpoint.tensors
  const { family, text, spec }: PermutationSpec = await permutationSpec(checkpoint)
  const specs: readonly [SpecText, Spec] = [text, spec]
  show(dtypes, shapes.size, family, Object.keys(specs[1].groups))
  const facts = checkpointFacts(checkpoint)
  const listed: ListedTensor | undefined = listedTensors(checkpoint)[0]
  const format: string | undefined = listed?.format
  show(format, facts.model, facts.layers, facts.parameters, facts.dtypes['F32']?.bytes, facts.adapter?.ranks)
  return facts
}

export async function texts(): Promise<unknown> {
  const where: NewRecipeOptions = { folder: '.', recipeFolder: '.' }
  const line: OneLine = {
    models: ['a', 'b'],
    output: 'out',
    method: 'linear',
    weights: '1,2',
    base: 'a',
    include: ['**'],
    exclude: ['lm_head.**'],
    param: ['normalize=false'],
  }
  const importing: ImportOptions = { strict: true, folder: '.' }
  const { text, diagnostics } = await importMergekit('mergekit.yml', importing)
  const blocks: BlockWeightOptions = { ...where, base: 0.5 }
  show(await init(['a', 'b+adapter'], where), text, diagnostics.map(formatDiagnostic))
  show(await importBlockWeights('0,1', ['a', 'b'], blocks))
  return recipeAsData(recipeOf(line, where))
}

export async function reported(lineagePath: string): Promise<readonly string[]> {
  const forms: readonly ReportForm[] = REPORT_FORMS
  const specVersion: CycloneDxVersion = '1.7'
  const options: Required<ReportOptions> = { specVersion, timestamp: '2026-11-26T18:30:00Z', recipeFolder: '.', listen }
  show(await report(lineagePath, 'cyclonedx', options))
  const where: TraceOptions = { recipeFolder: '.' }
  const { step, linear, weights }: Trace = await trace(lineagePath, 'w', where)
  const from: TraceStep = step
  const sources: readonly TraceSource[] = from.sources
  const effective: readonly TraceWeight[] = weights
  show(from.why, sources[0]?.stopped, linear, effective[0]?.weight)
  return [await report(lineagePath), ...(await Promise.all(forms.map((form) => report(lineagePath, form))))]
}

export async function measured(lineages: readonly Lineage[], folder: string): Promise<readonly PathPoint[]> {
  for (const [step, series] of measuredPaths(lineages)) {
    const figures: readonly Series[] = series
    const deviations: readonly (Deviation | undefined)[] = figures.flatMap((one) => [barrier(one), drop(one)])
    show(step, deviations.map((one) => one?.height))
  }
  const [first] = lineages
  const found: PathSummary | undefined = first ? await readPathOf(first, folder) : await readPath(folder)
  return found?.points ?? []
}

export function described(): readonly string[] {
  const methods: readonly Method[] = [...listMethods(), findMethod('ties')]
  const families: readonly MethodFamily[] = methods.map(familyOf)
  show(families.length)
  return methods.flatMap(({ name, summary, parameters }) => [
    `${name}: ${summary}`,
    ...parameters.map(({ name: parameter, default: value, describe }: ParameterSchema) => `${parameter} ${value} ${describe}`),
  ])
}

/** Layouts: what terge knows, what a model has, and the recipe of a conversion. */
export async function layouts(): Promise<string> {
  const known: readonly KnownLayout[] = listLayouts()
  const facts: ModelFacts = await inspect('a.safetensors')
  const found: readonly ModelLayout[] = modelLayouts(facts)
  const conversion: Conversion = { model: 'a', output: 'b', layout: [found[0]?.others[0] ?? known[0]!.name] }
  return conversionRecipe(conversion)
}

/** What a plan says, for those who draw it. */
export function drawn({ outputs, steps, analyses, checks = [], cost, digest }: Plan, view: PlanView): readonly string[] {
  show(checks.map(({ step, tolerance }: PlanCheck) => `${step} ${tolerance}`))
  const updates: readonly AdapterUpdates[] = [...view.updates.values()]
  const costs: readonly AnalysisCost[] = cost.analyses ?? []
  const counts: readonly PatternCount[] = steps.flatMap(({ patterns }) => patterns)
  const patterns = counts.map(({ pattern, matches, applies }) => `${pattern} ${matches} ${applies}`)
  const lines = outputs.flatMap((output: PlanOutput) => {
    return output.tensors.flatMap(({ name, dtype, shape, expr, reason, absent }: PlanTensor) => {
      const copied: CopyReason | undefined = reason
      const reasons: readonly AbsentReason[] = (absent ?? []).map((one) => one.reason)
      return [`${name} ${dtype} [${shape}] ${wordOf(expr)} ${copied}`, ...reasons]
    })
  })
  return [...patterns, ...lines, ...analyses.map(titleOf), ...costs.map(({ bytes }) => `${bytes}`), digest, `${updates.length}`, JSON.stringify(view.data())]
}

function wordOf(expr: Expr): string {
  const read: ReadExpr | undefined = expr.kind === 'read' ? expr : undefined
  return read === undefined ? expr.kind : 'copied'
}

function titleOf(analysis: Analysis): string {
  const known: MoeAnalysis | RebasinAnalysis | RepairAnalysis | TransplantAnalysis | ZipAnalysis = analysis
  return known.kind
}

export function told(error: unknown): number {
  if (!(error instanceof Fault)) throw error
  for (const diagnostic of error.diagnostics) show(formatDiagnostic(diagnostic))
  return error.exit
}

export const viewed = async (): Promise<readonly string[]> => {
  const { plan: made } = await planned()
  const graph: PlanGraph = planGraph(made)
  show(graph.nodes.length, graph.edges.length)
  const limits: DownloadOptions = { disk: 40e9, commands: 'run' }
  const downloads: Downloads | undefined = await planDownloads(await planned(), limits)
  const bounded: BoundedRun | undefined = downloads?.bounded
  show(downloads?.bytes, downloads?.leastDisk, bounded?.stages)
  const licenses: readonly ModelLicense[] = planLicenses(await planned())
  const license: License | undefined = licenses[0]?.license
  show(licenses[0]?.terms, license?.id)
  const viewing: ViewOptions = { threads: 2, memory: 1e9, ...(downloads ? { downloads } : {}) }
  return drawn(made, viewPlan(made, viewing))
}

const rangeOf = (value: Change['a']): Range | undefined =>
  typeof value === 'object' && value !== null && 'from' in value && 'to' in value ? (value as Range) : undefined

export const reviewed = async (): Promise<readonly string[]> => {
  const options: AgainstOptions = { models: true, set: ['seed=1'] }
  const found: Difference = await comparePlans('recipe.yml', 'main', options)
  const done: Difference = await compareLineages('a/lineage.json', 'b/lineage.json')
  show(done.bytes)
  const bytes: Sameness = found.bytes
  const named: readonly NamedChange[] = [...found.models, ...found.steps]
  const ofOutput = ({ path, groups, files }: OutputDifference): readonly string[] => {
    const changed: readonly TensorGroup[] = groups
    const beside: readonly FileChange[] = files
    const ranges = changed.flatMap(({ changes }) => changes.flatMap(({ a }) => rangeOf(a)?.from ?? []))
    return [path, ...changed.map(({ state, tensors }) => `${state} ${tensors}`), ...beside.map(({ name }) => name), ...ranges.map(String)]
  }
  return [bytes, ...named.map(({ name, state }) => `${name} ${state}`), ...found.outputs.flatMap(ofOutput)]
}
