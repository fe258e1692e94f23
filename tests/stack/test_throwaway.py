"""Databases and buckets are fresh, real, and gone afterwards."""

from __future__ import annotations

import urllib.error
import urllib.request

import jwt
import psycopg
import pytest
from botocore.exceptions import ClientError

from infra.stack.keys import SigningKeys
from infra.stack.logins import ROLE_OF_LOGIN, UnknownLoginError
from infra.stack.s3 import S3Endpoint
from infra.stack.throwaway import Bucket, Database, DatabaseServer, cloned_database


@pytest.mark.parametrize("login", sorted(ROLE_OF_LOGIN))
def test_every_login_is_a_member_of_its_role_only(database: Database, login: str) -> None:
    with psycopg.connect(database.url(login)) as connection:
        user, roles, superuser = connection.execute(
            """
            select current_user,
                   array(select roleid::regrole::text from pg_auth_members where member = current_user::regrole),
                   (select rolsuper from pg_roles where rolname = current_user)
            """
        ).fetchone() or (None, None, None)
    assert (user, roles, superuser) == (login, [ROLE_OF_LOGIN[login]], False)


def test_an_unknown_login_is_refused(database: Database) -> None:
    with pytest.raises(UnknownLoginError, match="there are"):
        database.url("nurse")
    with pytest.raises(UnknownLoginError, match="one organisation"):
        database.url("analyst")


def test_a_clone_keeps_the_settings_and_grants_of_its_template(
    postgres_server: DatabaseServer, migrated_template: str, database: Database
) -> None:
    query = """
        select (select array_agg(setting order by setting) from pg_db_role_setting s, unnest(setconfig) as setting
                where s.setdatabase = d.oid and s.setrole = 0),
               (select array_agg(grantee::regrole::text || ' ' || privilege_type order by grantee, privilege_type)
                from aclexplode(d.datacl) where grantee <> 0)
        from pg_database d where datname = %s
    """
    with psycopg.connect(postgres_server.admin_url) as connection:
        template = connection.execute(query, [migrated_template]).fetchone()
        clone = connection.execute(query, [database.name]).fetchone()
    assert template is not None
    assert template[0], "the migrations set a search_path on the database"
    assert clone == template


def test_a_clone_is_dropped_even_while_somebody_is_connected(
    postgres_server: DatabaseServer, migrated_template: str
) -> None:
    with cloned_database(postgres_server, migrated_template) as clone:
        lingering = psycopg.connect(clone.admin_url)
    with pytest.raises(psycopg.OperationalError):
        lingering.execute("select 1")
    lingering.close()
    with psycopg.connect(postgres_server.admin_url) as connection:
        assert connection.execute("select 1 from pg_database where datname = %s", [clone.name]).fetchone() is None


def test_the_bucket_keeps_versions_and_shows_ranges_to_a_page(s3: Bucket) -> None:
    client = s3.client()
    first = client.put_object(Bucket=s3.bucket, Key="1/a.bin.gz", Body=b"first")["VersionId"]
    client.put_object(Bucket=s3.bucket, Key="1/a.bin.gz", Body=b"second")
    url = client.generate_presigned_url(
        "get_object", Params={"Bucket": s3.bucket, "Key": "1/a.bin.gz", "VersionId": first}, ExpiresIn=60
    )
    request = urllib.request.Request(url, headers={"Origin": "http://viewer.example", "Range": "bytes=1-3"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.read() == b"irs"
        exposed = {name.strip().lower() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
        assert {"content-range", "etag"} <= exposed
        assert answer.headers["Content-Range"] == "bytes 1-3/5"


def test_nobody_reads_without_a_valid_signature(s3: Bucket) -> None:
    s3.client().put_object(Bucket=s3.bucket, Key="1/a.bin.gz", Body=b"frames")
    address = f"{s3.endpoint_url}/{s3.bucket}/1/a.bin.gz"
    for url in (address, f"{address}?X-Amz-Signature=00&X-Amz-Credential=x"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=10)
        refused.value.close()
        assert refused.value.code in (400, 403)
    stranger = S3Endpoint(s3.endpoint_url, s3.endpoint.access_key_id, "not the secret")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.client().get_object(Bucket=s3.bucket, Key="1/a.bin.gz")


def test_a_minted_token_verifies_with_the_published_key_alone(session_keys: SigningKeys, identity: SigningKeys) -> None:
    token = session_keys.mint({"aud": "telemetry", "sub": "p"})
    key = jwt.PyJWKSet.from_json(session_keys.jwks_path.read_text())[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key.key, algorithms=["EdDSA"], audience="telemetry")["sub"] == "p"
    stranger = jwt.PyJWKSet.from_json(identity.jwks_path.read_text())[identity.key_id]
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, stranger.key, algorithms=["EdDSA"], audience="telemetry")


def test_private_keys_are_private(session_keys: SigningKeys) -> None:
    assert session_keys.pem_path.stat().st_mode & 0o077 == 0
