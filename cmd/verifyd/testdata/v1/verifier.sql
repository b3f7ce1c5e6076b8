-- SPDX-License-Identifier: Apache-2.0
-- The database of a verifier of schema 1, from which one activation code was asked.
BEGIN TRANSACTION;
CREATE TABLE audit (
		seq BIGINT PRIMARY KEY, at BIGINT NOT NULL, who TEXT NOT NULL, act TEXT NOT NULL, subject TEXT NOT NULL, hash BLOB NOT NULL);
INSERT INTO "audit" VALUES(1,1795844920956236,'first','make activation code','boardroom IC-0001',X'B4030D63806DDB03A43CC7DC267929F6BA574EFDE4D2E4E7D1C142A34169625A');
CREATE TABLE certificates (
		fingerprint TEXT PRIMARY KEY, room TEXT NOT NULL, session TEXT NOT NULL, expires BIGINT NOT NULL, revoked INTEGER NOT NULL);
CREATE TABLE challenges (
		session TEXT PRIMARY KEY, room TEXT NOT NULL, nonce BLOB NOT NULL, profile TEXT NOT NULL,
		issued BIGINT NOT NULL, used INTEGER NOT NULL);
CREATE TABLE codes (
		hash BLOB PRIMARY KEY, serial TEXT NOT NULL, room TEXT NOT NULL, name TEXT NOT NULL,
		expires BIGINT NOT NULL, spent INTEGER NOT NULL);
INSERT INTO "codes" VALUES(X'75373522D315B16FFA7CB737BB6B8F62909588334DB59B2F3D89A5D2798314C3','IC-0001','boardroom','Boardroom',1796104120956236,0);
CREATE TABLE endorsement_keys (hash TEXT PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE enrolments (
		session TEXT PRIMARY KEY, room TEXT NOT NULL UNIQUE, code BLOB NOT NULL UNIQUE, secret BLOB NOT NULL,
		nonce BLOB NOT NULL, state TEXT NOT NULL, begun BIGINT NOT NULL, deadline BIGINT NOT NULL, record BLOB NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
INSERT INTO "meta" VALUES('lock',X'');
INSERT INTO "meta" VALUES('checkpoint',X'');
INSERT INTO "meta" VALUES('references',X'6E6F6E65');
INSERT INTO "meta" VALUES('schema',X'31');
CREATE TABLE refs (
		sha256 TEXT PRIMARY KEY, board TEXT NOT NULL, version TEXT NOT NULL, rollback BIGINT NOT NULL,
		document BLOB NOT NULL, proof BLOB NOT NULL, added BIGINT NOT NULL, revoked INTEGER NOT NULL);
CREATE TABLE revoked_keys (ak TEXT PRIMARY KEY, room TEXT NOT NULL, at BIGINT NOT NULL);
CREATE TABLE rooms (
		id TEXT PRIMARY KEY, session TEXT NOT NULL, secret BLOB NOT NULL, state TEXT NOT NULL, identity BLOB NOT NULL,
		ek TEXT NOT NULL, record BLOB NOT NULL);
CREATE INDEX rooms_session ON rooms (session);
CREATE INDEX rooms_identity ON rooms (identity);
CREATE INDEX rooms_ek ON rooms (ek);
CREATE INDEX challenges_room ON challenges (room, issued);
CREATE INDEX challenges_issued ON challenges (issued);
CREATE INDEX certificates_room ON certificates (room);
COMMIT;
