"""Slipway's command line: Invoke tasks, a few lines each. Read flags, run a playbook, show what it came to.

The answer goes to standard output, progress to standard error; --json makes the answer one JSON document. Exit status:
0 done; 1 failed, and the fleet is back on what it ran before; 2 bad usage or configuration, nothing touched; 3 a person
is needed, and the message says where; 4 somebody else holds the lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke import Collection, Context, task

from lab import tasks as lab_tasks
from playbooks.cli import (
    backups,
    bad_usage,
    confirming,
    databases,
    flag_values,
    runner,
    running,
    telling,
    traffic,
    untrusted,
)
from playbooks.cli.flags import APP, BATCH, ENV, JSON, LIMIT, REPORT, TIMINGS, UNTRUSTED, WAIT, YES
from playbooks.core import streams
from playbooks.core.errors import UsageError

if TYPE_CHECKING:
    from playbooks.check_deploy import DeployCheck
    from playbooks.check_rollback import RollbackCheck
    from playbooks.check_untrusted import UntrustedCheck
    from playbooks.cli.runner import Several
    from playbooks.core.requests import DeployRequest, RollbackRequest
    from playbooks.health import FleetHealth
    from playbooks.history import History
    from playbooks.host_keys import HostKeys
    from playbooks.list_rollback import WaysBack
    from playbooks.provision import Provisioned
    from playbooks.repair_history import RepairedHistory
    from playbooks.rollout.outcome import Outcome
    from playbooks.status import Status
    from playbooks.verify_history import VerifiedHistory

# Before anything is written, by us or by Invoke.
streams.prepare()

# A playbook is imported when it is run: what it needs costs more than all before, and a person hears from us sooner.


@task(
    positional=[],
    optional=["timings"],
    help={
        "env": ENV,
        "app": APP,
        "version": "version to deploy (default: the newest there is)",
        "artifact": "deploy this file, http(s):// or s3:// URL instead",
        "sha256": "the artifact's checksum (default: from ARTIFACT.sha256)",
        "strategy": "how hosts change (default: the environment's): rolling, blue-green, canary",
        "batch": BATCH,
        "watch": "how long to watch after the switch, e.g. 10m; 0: not at all (default: the environment's)",
        "limit": LIMIT,
        "check": "say what would be done, with diffs, and touch nothing",
        "untrusted-inventory": f"with --check: {UNTRUSTED}",
        "force": "deploy even what runs already, and go on where the balancer's other servers have no headroom",
        "overrule": "why migrations run that no rehearsal speaks for, or outside of their window; kept in the ledger",
        "resume": "go on with a deploy whose controller died; from any machine, as it was begun",
        "wait": WAIT,
        "yes": YES,
        "report": REPORT,
        "timings": TIMINGS,
        "json": JSON,
    },
)
def deploy(
    c: Context,
    env: str = "",
    version: str | None = None,
    artifact: str | None = None,
    sha256: str | None = None,
    strategy: str | None = None,
    batch: str | None = None,
    watch: str | None = None,
    limit: str | None = None,
    check: bool = False,
    untrusted_inventory: bool = False,
    force: bool = False,
    overrule: str = "",
    resume: bool = False,
    wait: str = "0",
    yes: bool = False,
    report: str | None = None,
    timings: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Deploy a version: stage it everywhere, switch in batches, go back by itself if it is not healthy."""
    from playbooks.report import tables

    def wanted() -> DeployRequest:
        from playbooks.core.requests import DeployRequest

        watched = None if watch is None else flag_values.seconds("watch", watch)
        waits = flag_values.seconds("wait", wait)
        return DeployRequest(version, artifact, sha256, strategy, batch, watched, force, waits, overrule)

    def look(environment: runner.Environment, progress: runner.Progress) -> DeployCheck:
        from playbooks.check_deploy import check as run

        return run(environment, wanted(), progress)

    def look_only(environment: runner.Environment) -> UntrustedCheck:
        from playbooks.check_untrusted import check_untrusted as run

        given = {"artifact": artifact, "sha256": sha256, "force": force, "resume": resume, "yes": yes, "report": report}
        untrusted.refuse_untrusted(
            [name for name, value in {**given, "timings": timings}.items() if value], check=check
        )
        return run(environment, wanted())

    if untrusted_inventory:
        untrusted.perform_untrusted(env, look_only, tables.show_untrusted_check, limit=limit, app=app, as_json=json)
        return
    if resume:
        begun = {"version": version, "check": check}
        telling.refuse_together("--resume", begun, "it finishes what was begun, as it was begun", as_json=json)
    if check:
        telling.refuse_together("--check", {"report": report}, "a dry run has no rollout to tell of", as_json=json)
        runner.perform(
            env,
            look,
            tables.show_check,
            limit=limit,
            app=app,
            as_json=json,
            observers=runner.timed("deploy", timings),
        )
        return

    def ask(environment: runner.Environment) -> None:
        from playbooks.adapters.stores.web import shown

        what = (
            "go on with the deploy that was interrupted"
            if resume
            else f"deploy {version or shown(artifact or '') or 'the newest version'}"
        )
        confirming.confirm(environment, what, confirming.DEPLOY_WORD, yes=yes)

    def act(environment: runner.Environment, progress: runner.Progress) -> Outcome:
        if resume:
            from playbooks.resume_deploy import resume as run
        else:
            from playbooks.deploy import deploy as run
        return run(environment, wanted(), progress)

    observers = [*runner.timed("deploy", timings), *runner.reported("deploy", report)]
    runner.perform(env, act, tables.show_outcome, limit=limit, app=app, as_json=json, observers=observers, ask=ask)


@task(
    positional=[],
    optional=["timings"],
    help={
        "env": ENV,
        "app": APP,
        "to": "release, version or backup to go back to (default: what ran before)",
        "reason": "why; kept in the ledger",
        "with-database": "restore the databases too; the present ones are kept",
        "overrule": "why databases are restored although others go back with them, or the present ones cannot be kept",
        "batch": BATCH + " (default: all at once; behind a balancer half of them)",
        "check": "only say what it would do, and touch nothing",
        "list": "list the releases and backups that one can go back to, and touch nothing",
        "limit": LIMIT,
        "wait": WAIT,
        "yes": YES,
        "report": REPORT,
        "timings": TIMINGS,
        "json": JSON,
    },
)
def rollback(
    c: Context,
    env: str = "",
    to: str | None = None,
    reason: str = "",
    with_database: bool = False,
    batch: str | None = None,
    limit: str | None = None,
    wait: str = "0",
    yes: bool = False,
    report: str | None = None,
    timings: str | None = None,
    check: bool = False,
    list_: bool = False,
    json: bool = False,
    app: str | None = None,
    overrule: str = "",
) -> None:
    """Go back to what ran before, or to any release or backup there is."""
    from playbooks.report import rollback_preview, tables

    def wanted() -> RollbackRequest:
        from playbooks.core.requests import RollbackRequest

        waits = flag_values.seconds("wait", wait)
        return RollbackRequest(to, reason, with_database, batch, waits, overrule)

    def look(environment: runner.Environment, progress: runner.Progress) -> RollbackCheck:
        from playbooks.check_rollback import check_rollback as run

        return run(environment, wanted(), progress)

    def list_all(environment: runner.Environment, progress: runner.Progress) -> WaysBack:
        from playbooks.list_rollback import ways_back as run

        return run(environment, progress)

    timed = runner.timed("rollback", timings)
    if list_:
        asked = {"check": check, "to": to, "reason": reason, "with-database": with_database, "batch": batch}
        asked |= {"wait": wait != "0", "yes": yes, "report": report, "overrule": overrule}
        telling.refuse_together("--list", asked, "it shows all that one can go back to", as_json=json)
        show = rollback_preview.show_ways_back
        runner.perform(env, list_all, show, limit=limit, app=app, several="each", as_json=json, observers=timed)
        return
    if check:
        telling.refuse_together("--check", {"report": report}, "a dry run has no rollback to tell of", as_json=json)
        runner.perform(
            env, look, rollback_preview.show_rollback_check, limit=limit, app=app, as_json=json, observers=timed
        )
        return

    def ask(environment: runner.Environment) -> None:
        confirming.confirm(environment, f"rollback to {to or 'what ran before'}", confirming.ROLLBACK_WORD, yes=yes)

    def act(environment: runner.Environment, progress: runner.Progress) -> Outcome:
        from playbooks.rollback import rollback as run

        return run(environment, wanted(), progress)

    observers = [*timed, *runner.reported("rollback", report)]
    runner.perform(env, act, tables.show_outcome, limit=limit, app=app, as_json=json, observers=observers, ask=ask)


@task(
    positional=[], optional=["timings"], help={"env": ENV, "app": APP, "limit": LIMIT, "timings": TIMINGS, "json": JSON}
)
def status(
    c: Context,
    env: str = "",
    limit: str | None = None,
    timings: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Show what runs where, since when, by whom, and how it is."""
    from playbooks.report import tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Status:
        from playbooks.status import status as run

        return run(environment, progress)

    runner.perform(
        env,
        act,
        tables.show_status,
        limit=limit,
        app=app,
        several="each",
        as_json=json,
        observers=runner.timed("status", timings),
    )


@task(
    positional=[],
    help={
        "env": ENV,
        "app": APP,
        "limit": LIMIT,
        "records": "how many of the newest records",
        "verify": "read every ledger whole and prove it: PASSED, or what was changed where",
        "since": "with --verify: heads it showed earlier, or a file that has them; they must be there still",
        "repair": "let hosts give each other the records they lack; overwrites nothing",
        "accept": "with --repair: records in question that you vouch for, by their digests, with commas between",
        "reject": "with --repair: those that are to be left out; the ledger that has them is kept beside the new one",
        "wait": WAIT + "; with --repair",
        "json": JSON,
    },
)
def history(
    c: Context,
    env: str = "",
    limit: str | None = None,
    records: str = "20",
    verify: bool = False,
    since: str | None = None,
    repair: bool = False,
    accept: str = "",
    reject: str = "",
    wait: str = "0",
    json: bool = False,
    app: str | None = None,
) -> None:
    """Show what was done, when and by whom; --verify proves that nobody changed it."""
    from playbooks.report import history as tables

    def show(environment: runner.Environment, progress: runner.Progress) -> History:
        from playbooks.history import history as run

        return run(environment, progress, most=flag_values.number("records", records))

    def prove(environment: runner.Environment, progress: runner.Progress) -> VerifiedHistory:
        from playbooks.verify_history import verify_history as run

        return run(environment, progress, since=since)

    def mend(environment: runner.Environment, progress: runner.Progress) -> RepairedHistory:
        from playbooks.repair_history import repair_history as run

        named = [[name for name in flag.split(",") if name] for flag in (accept, reject)]
        return run(environment, progress, wait=flag_values.seconds("wait", wait), accept=named[0], reject=named[1])

    mending = {"accept": accept, "reject": reject, "wait": wait != "0"}
    if repair:
        looking = {"verify": verify, "since": since, "records": records != "20"}
        why = "it proves all ledgers by itself, and then mends them"
        telling.refuse_together("--repair", looking, why, as_json=json)
    elif any(mending.values()):
        alone = next(f"--{name}" for name, value in mending.items() if value)
        telling.refuse(UsageError(f"{alone} goes with --repair only; nothing was touched"), as_json=json)
    elif since is not None and not verify:
        said = "--since goes with --verify only: it names heads that must be there still, and no time"
        hint = f"invoke history --env={env or '…'} --verify --since=…; --records=50 shows more records"
        telling.refuse(UsageError(f"{said}; nothing was touched", hint=hint), as_json=json)
    elif verify:
        telling.refuse_together("--verify", {"records": records != "20"}, "it reads every ledger whole", as_json=json)
    each: Several = "ask" if since is not None else "each"  # heads are an application's own
    if repair:
        runner.perform(env, mend, tables.show_repaired_history, limit=limit, app=app, as_json=json)
    elif verify:
        runner.perform(env, prove, tables.show_verified_history, limit=limit, app=app, several=each, as_json=json)
    else:
        runner.perform(env, show, tables.show_history, limit=limit, app=app, several="each", as_json=json)


@task(
    positional=[], optional=["timings"], help={"env": ENV, "app": APP, "limit": LIMIT, "timings": TIMINGS, "json": JSON}
)
def health(
    c: Context,
    env: str = "",
    limit: str | None = None,
    timings: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Try every health check on every host, once."""
    from playbooks.report import tables

    def act(environment: runner.Environment, progress: runner.Progress) -> FleetHealth:
        from playbooks.health import health as run

        return run(environment, progress)

    runner.perform(
        env,
        act,
        tables.show_health,
        limit=limit,
        app=app,
        several="each",
        as_json=json,
        observers=runner.timed("health", timings),
    )


@task(
    positional=[], optional=["timings"], help={"env": ENV, "app": APP, "limit": LIMIT, "timings": TIMINGS, "json": JSON}
)
def provision(
    c: Context,
    env: str = "",
    limit: str | None = None,
    timings: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Make hosts ready: packages, users, folders, databases, the balancer. Safe to run again."""
    from playbooks.report import tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Provisioned:
        from playbooks.provision import provision as run

        return run(environment, progress)

    runner.perform(
        env,
        act,
        tables.show_provisioned,
        limit=limit,
        app=app,
        as_json=json,
        observers=runner.timed("provision", timings),
    )


@task(
    positional=[],
    help={
        "env": ENV,
        "app": APP,
        "limit": LIMIT,
        "vars": "show hosts, groups and all variables instead, as they are written; JSON: as ansible-inventory --list",
        "host": "show the variables of this host; JSON: as ansible-inventory --host",
        "untrusted-inventory": UNTRUSTED,
        "json": JSON,
    },
)
def inventory(
    c: Context,
    env: str = "",
    limit: str | None = None,
    vars: bool = False,
    host: str | None = None,
    untrusted_inventory: bool = False,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Show hosts, groups and resolved settings, secrets struck out. Reaches no host."""
    from playbooks.report import tables
    from playbooks.show_inventory import show_inventory as run
    from playbooks.show_variables import Variables, show_host, show_variables

    def look(found: runner.Inventory) -> Variables:
        return show_variables(found, pattern=limit) if host is None else show_host(found, host)

    def bare(found: runner.Inventory, missing: str) -> None:
        listed = show_variables(found, pattern=limit, missing=missing, full=False)
        untrusted.tell_variables(listed, tables.show_variables, as_json=json)

    if host is not None:
        other = {"vars": vars, "limit": limit, "app": app}
        telling.refuse_together("--host", other, "it shows what is written for that host", as_json=json)
    elif vars:
        telling.refuse_together("--vars", {"app": app}, "it shows what is written, for all applications", as_json=json)
    if vars or host is not None:
        untrusted.list_variables(env, look, tables.show_variables, as_json=json, untrusted=untrusted_inventory)
    elif untrusted_inventory:
        untrusted.perform_untrusted(
            env, run, tables.show_inventory, limit=limit, app=app, several="each", as_json=json, bare=bare
        )
    else:
        runner.perform(
            env,
            lambda e, _: run(e),
            tables.show_inventory,
            limit=limit,
            app=app,
            several="each",
            as_json=json,
            bare=bare,
        )


@task(
    positional=[],
    help={
        "env": ENV,
        "app": APP,
        "record": "record the keys of hosts that have none recorded",
        "replace": "replace recorded keys that differ",
        "limit": LIMIT,
        "json": JSON,
    },
)
def host_keys(
    c: Context,
    env: str = "",
    record: bool = False,
    replace: bool = False,
    limit: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Show the hosts' SSH keys beside the recorded ones; record them when you have compared."""
    from playbooks.report import tables

    def act(environment: runner.Environment, progress: runner.Progress) -> HostKeys:
        from playbooks.host_keys import host_keys as run

        return run(environment, progress, record=record, replace=replace)

    runner.perform(env, act, tables.show_host_keys, limit=limit, app=app, several="together", as_json=json)


namespace = Collection(
    deploy,
    rollback,
    status,
    health,
    history,
    running.logs,
    running.drift,
    running.execute,
    running.console,
    backups.backup,
    backups.backups,
    backups.verify_backups,
    backups.restore,
    backups.schedule,
    backups.unschedule,
    databases.migrate,
    databases.migrations,
    databases.rehearse,
    traffic.traffic,
    traffic.promote,
    traffic.abort,
    traffic.maintenance,
    traffic.error_rate,
    traffic.latency,
    traffic.warm_up,
    provision,
    inventory,
    host_keys,
)
namespace.add_collection(Collection.from_module(lab_tasks), name="lab")
bad_usage.strict_usage(namespace)
