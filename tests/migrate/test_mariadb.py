"""A MariaDB of its own as the source: planned, copied and gone on with."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import qvec
from qvec.migrate import CopyJob, CopyProgress, FieldMap, copy, plan
from qvec.registry import embedded_uri
from tests.adapters.servers import answers, stop, wait_until_up

pytestmark = pytest.mark.server
ROWS = 2500


def program(*names: str) -> str:
    """Find a program of the server; where it is absent the tests are skipped."""
    found = next((path for name in names if (path := shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin"))), "")
    if not found:
        pytest.skip("mariadb-server is not installed: apt-get install mariadb-server")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a server that is up, with its socket in it."""
    pytest.importorskip("pymysql")
    daemon, install = program("mariadbd", "mysqld"), program("mariadb-install-db", "mysql_install_db")
    where = tmp_path_factory.mktemp("maria")
    own = ["--no-defaults", f"--datadir={where / 'data'}"]
    subprocess.run(
        [install, *own, "--auth-root-authentication-method=normal", "--skip-test-db"], check=True, capture_output=True
    )
    # Its buffer is small, so that it starts in a second.
    small = ["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--skip-networking", "--user=root"]
    with (where / "log").open("wb") as log:
        server = subprocess.Popen(
            [daemon, *own, *small, f"--socket={where / 's'}", f"--pid-file={where / 'pid'}"], stdout=log, stderr=log
        )
    try:
        wait_until_up(server, lambda: answers(where / "s"), seconds=120, logs=where / "log", end=lambda: stop(server))
        fill(where / "s")
        yield where
    finally:
        stop(server)


def fill(socket: Path) -> None:
    import pymysql

    db = pymysql.connect(unix_socket=str(socket), user="root", autocommit=True)
    with db, db.cursor() as cursor:
        cursor.execute("CREATE DATABASE shop CHARACTER SET utf8mb4")
        cursor.execute(
            "CREATE TABLE shop.`My ``Notes` (lang varchar(5), number int, title varchar(80) NOT NULL, body mediumtext, "
            "price decimal(8, 2), added datetime, PRIMARY KEY (lang, number), KEY by_title (title))"
        )
        rows = [
            (
                lang,
                number,
                f"Titel “{number}” 标题",
                f"text on topic{number % 9} 文本 😀",
                number / 4,
                "2024-05-06 07:08:09",
            )
            for number in range(ROWS // 2)
            for lang in ("de", "zh")
        ]
        cursor.executemany("INSERT INTO shop.`My ``Notes` VALUES (%s, %s, %s, %s, %s, %s)", rows)


@pytest.fixture
def job(folder: Path, tmp_path: Path) -> CopyJob:
    return CopyJob(
        source=f"mysql+pymysql://root@/shop?unix_socket={folder / 's'}&charset=utf8mb4",
        table="My `Notes",
        target=embedded_uri("faiss", tmp_path / "target").reveal(),
        collection="notes",
        model="hashing",
        fields=FieldMap(text="{title}\n{body}", metadata=("lang", "price", "added")),
        journal=tmp_path / "journal",
    )


def test_a_table_is_planned(job: CopyJob) -> None:
    found = plan(job.source, table=job.table, fields=job.fields, model="hashing")
    assert (found.rows, found.facts["key"]) == (ROWS, ["lang", "number"])
    assert str(found.facts["database"]).startswith("mysql 10.") or "mariadb" in str(found.facts["database"])
    assert found.facts["indexes"] == {"by_title": ["title"]}


def test_a_table_is_copied_whole(job: CopyJob) -> None:
    report = copy(job)
    assert (report.documents, report.failed) == (ROWS, 0)
    with qvec.connect(job.target) as database:
        hit = database.collection("notes").search("标题 “77”", where="lang = 'zh'", mode="lexical", k=1)[0]
    assert (hit.id, hit.text) == ("zh/77", "Titel “77” 标题\ntext on topic5 文本 😀")
    assert (hit.metadata["price"], str(hit.metadata["added"])[:10]) == (19.25, "2024-05-06")


def test_a_copy_that_was_broken_off_goes_on(job: CopyJob) -> None:
    def stop(state: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(job, progress=stop)
    told: list[CopyProgress] = []
    assert copy(job, progress=told.append).documents == ROWS
    assert max(state.read for state in told if not state.step) == ROWS - 512
