BEGIN TRANSACTION;
CREATE TABLE accounts (
	account VARCHAR NOT NULL, 
	source VARCHAR NOT NULL, 
	executor VARCHAR NOT NULL, 
	cash VARCHAR NOT NULL, 
	opened DATETIME NOT NULL, 
	PRIMARY KEY (account)
);
INSERT INTO "accounts" VALUES('small','test','paper','10000.00000000','2026-11-21 13:55:28.733901');
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE cycles (
	account VARCHAR NOT NULL, 
	job VARCHAR NOT NULL, 
	as_of DATE NOT NULL, 
	status VARCHAR NOT NULL, 
	run_id VARCHAR NOT NULL, 
	equity VARCHAR NOT NULL, 
	cash VARCHAR NOT NULL, 
	"plan" JSON NOT NULL, 
	planned DATETIME NOT NULL, 
	finished DATETIME, 
	PRIMARY KEY (account, job, as_of), 
	FOREIGN KEY(account) REFERENCES accounts (account)
);
INSERT INTO "cycles" VALUES('small','daily','2024-03-21','done','','10000.00000000','10000.00000000','{"targets": {"ACME": 0.3, "BOLT": 0.3}, "cancels": [], "refusals": []}','2026-11-21 13:55:28.944407','2026-11-21 13:55:29.025634');
INSERT INTO "cycles" VALUES('small','daily','2024-03-22','done','','10234.74819679','3985.12268079','{"targets": {"COIN/USD": 0.0}, "cancels": [], "refusals": []}','2026-11-21 13:55:29.107776','2026-11-21 13:55:29.147920');
INSERT INTO "cycles" VALUES('small','daily','2024-03-23','done','','10234.74819679','3985.12268079','{"targets": {}, "cancels": [], "refusals": []}','2026-11-21 13:55:29.227187','2026-11-21 13:55:29.261730');
INSERT INTO "cycles" VALUES('small','daily','2024-03-24','done','','10234.74819679','3985.12268079','{"targets": {"COIN/USD": 0.3}, "cancels": [], "refusals": []}','2026-11-21 13:55:29.343184','2026-11-21 13:55:29.401182');
INSERT INTO "cycles" VALUES('small','daily','2024-03-25','done','','10357.52793559','907.03089707','{"targets": {}, "cancels": [], "refusals": []}','2026-11-21 13:55:29.487122','2026-11-21 13:55:29.525260');
INSERT INTO "cycles" VALUES('small','daily','2024-03-26','done','','10197.65209473','907.03089707','{"targets": {"COIN/USD": 0.0}, "cancels": [], "refusals": []}','2026-11-21 13:55:29.577339','2026-11-21 13:55:29.633444');
INSERT INTO "cycles" VALUES('small','daily','2024-03-27','done','','10326.19315903','3876.48535303','{"targets": {"BOLT": 0.0}, "cancels": [], "refusals": []}','2026-11-21 13:55:29.697914','2026-11-21 13:55:29.738271');
INSERT INTO "cycles" VALUES('small','daily','2024-03-28','done','','10359.10824349','7196.25316349','{"targets": {"COIN/USD": 0.3, "ACME": 0.3, "BOLT": 0.3}, "cancels": [], "refusals": []}','2026-11-21 13:55:29.814853','2026-11-21 13:55:29.881785');
INSERT INTO "cycles" VALUES('small','daily','2024-03-29','done','','10318.67990891','4080.74014223','{"targets": {}, "cancels": [], "refusals": []}','2026-11-21 13:55:29.953289','2026-11-21 13:55:29.993417');
INSERT INTO "cycles" VALUES('small','daily','2024-03-30','done','','10292.81739623','4080.74014223','{"targets": {"COIN/USD": 0.0}, "cancels": [], "refusals": []}','2026-11-21 13:55:30.071063','2026-11-21 13:55:30.145037');
INSERT INTO "cycles" VALUES('small','daily','2024-03-31','done','','10291.27379687','7128.41871687','{"targets": {}, "cancels": [], "refusals": []}','2026-11-21 13:55:30.223217','2026-11-21 13:55:30.261457');
INSERT INTO "cycles" VALUES('small','daily','2024-04-01','done','','10260.65918291','4012.95659491','{"targets": {}, "cancels": [], "refusals": []}','2026-11-21 13:55:30.334643','2026-11-21 13:55:30.381528');
INSERT INTO "cycles" VALUES('small','daily','2024-04-02','done','','10349.59214611','7202.04253911','{"targets": {"COIN/USD": 0.0}, "cancels": [], "refusals": []}','2026-11-21 13:55:30.451012','2026-11-21 13:55:30.485307');
INSERT INTO "cycles" VALUES('small','daily','2024-04-03','done','','10320.49425411','7202.04253911','{"targets": {"BOLT": 0.0}, "cancels": [], "refusals": []}','2026-11-21 13:55:30.553456','2026-11-21 13:55:30.621503');
INSERT INTO "cycles" VALUES('small','daily','2024-04-04','done','','10318.87647889','10318.87647889','{"targets": {"COIN/USD": 0.3, "ACME": 0.3, "BOLT": 0.3}, "cancels": [], "refusals": []}','2026-11-21 13:55:30.699720','2026-11-21 13:55:30.793443');
INSERT INTO "cycles" VALUES('small','daily','2024-04-05','done','','10298.45701818','1008.87944910','{"targets": {}, "cancels": [], "refusals": []}','2026-11-21 13:55:30.863252','2026-11-21 13:55:30.921366');
INSERT INTO "cycles" VALUES('small','daily','2024-04-06','done','','10279.42788636','1008.87944910','{"targets": {"COIN/USD": 0.0}, "cancels": [], "refusals": []}','2026-11-21 13:55:30.987289','2026-11-21 13:55:31.041405');
INSERT INTO "cycles" VALUES('small','daily','2024-04-07','done','','10277.84589619','4174.19072119','{"targets": {}, "cancels": [], "refusals": []}','2026-11-21 13:55:31.110894','2026-11-21 13:55:31.149055');
INSERT INTO "cycles" VALUES('small','daily','2024-04-08','done','','10232.18005327','7195.83963027','{"targets": {"COIN/USD": 0.3}, "cancels": [], "refusals": []}','2026-11-21 13:55:31.218970','2026-11-21 13:55:31.289338');
INSERT INTO "cycles" VALUES('small','daily','2024-04-09','done','','10273.39772192','7153.17494750','{"targets": {}, "cancels": [], "refusals": []}','2026-11-21 13:55:31.359090','2026-11-21 13:55:31.399433');
INSERT INTO "cycles" VALUES('small','daily','2024-04-10','done','','10226.47469488','7153.17494750','{"targets": {"COIN/USD": 0.0, "BOLT": 0.0}, "cancels": [], "refusals": []}','2026-11-21 13:55:31.469941','2026-11-21 13:55:31.522129');
CREATE TABLE equity (
	account VARCHAR NOT NULL, 
	day DATE NOT NULL, 
	equity VARCHAR NOT NULL, 
	cash VARCHAR NOT NULL, 
	PRIMARY KEY (account, day), 
	FOREIGN KEY(account) REFERENCES accounts (account)
);
INSERT INTO "equity" VALUES('small','2024-03-21','10000.00000000','10000.00000000');
INSERT INTO "equity" VALUES('small','2024-03-22','10234.74819679','3985.12268079');
INSERT INTO "equity" VALUES('small','2024-03-23','10234.74819679','3985.12268079');
INSERT INTO "equity" VALUES('small','2024-03-24','10234.74819679','3985.12268079');
INSERT INTO "equity" VALUES('small','2024-03-25','10357.52793559','907.03089707');
INSERT INTO "equity" VALUES('small','2024-03-26','10197.65209473','907.03089707');
INSERT INTO "equity" VALUES('small','2024-03-27','10326.19315903','3876.48535303');
INSERT INTO "equity" VALUES('small','2024-03-28','10359.10824349','7196.25316349');
INSERT INTO "equity" VALUES('small','2024-03-29','10318.67990891','4080.74014223');
INSERT INTO "equity" VALUES('small','2024-03-30','10292.81739623','4080.74014223');
INSERT INTO "equity" VALUES('small','2024-03-31','10291.27379687','7128.41871687');
INSERT INTO "equity" VALUES('small','2024-04-01','10260.65918291','4012.95659491');
INSERT INTO "equity" VALUES('small','2024-04-02','10349.59214611','7202.04253911');
INSERT INTO "equity" VALUES('small','2024-04-03','10320.49425411','7202.04253911');
INSERT INTO "equity" VALUES('small','2024-04-04','10318.87647889','10318.87647889');
INSERT INTO "equity" VALUES('small','2024-04-05','10298.45701818','1008.87944910');
INSERT INTO "equity" VALUES('small','2024-04-06','10279.42788636','1008.87944910');
INSERT INTO "equity" VALUES('small','2024-04-07','10277.84589619','4174.19072119');
INSERT INTO "equity" VALUES('small','2024-04-08','10232.18005327','7195.83963027');
INSERT INTO "equity" VALUES('small','2024-04-09','10273.39772192','7153.17494750');
INSERT INTO "equity" VALUES('small','2024-04-10','10226.47469488','7153.17494750');
CREATE TABLE fills (
	number INTEGER NOT NULL, 
	account VARCHAR NOT NULL, 
	venue_id VARCHAR NOT NULL, 
	client_id VARCHAR NOT NULL, 
	symbol VARCHAR NOT NULL, 
	side VARCHAR NOT NULL, 
	quantity VARCHAR NOT NULL, 
	price VARCHAR NOT NULL, 
	fee VARCHAR NOT NULL, 
	day DATE NOT NULL, 
	reason VARCHAR NOT NULL, 
	strategy VARCHAR NOT NULL, 
	cut BOOLEAN NOT NULL, 
	booked DATETIME NOT NULL, 
	PRIMARY KEY (number), 
	UNIQUE (account, venue_id), 
	FOREIGN KEY(account) REFERENCES accounts (account)
);
INSERT INTO "fills" VALUES(1,'small','paper-20240321-ACME-b-56e1bf9aac','20240321-ACME-b-56e1bf9aac','ACME','buy','59.6540','50.365170000','3.00448385','2024-03-22','signal','shares',0,'2026-11-21 13:55:29.078045');
INSERT INTO "fills" VALUES(2,'small','paper-20240321-BOLT-b-43b306db5d','20240321-BOLT-b-43b306db5d','BOLT','buy','41.2654','72.806385000','3.00438460','2024-03-22','signal','shares',0,'2026-11-21 13:55:29.078045');
INSERT INTO "fills" VALUES(3,'small','paper-20240324-COINUSD-b-4e0db5dc3f','20240324-COINUSD-b-4e0db5dc3f','COIN/USD','buy','8.488166','362.271045000','3.07501677','2024-03-25','signal','coins',0,'2026-11-21 13:55:29.453048');
INSERT INTO "fills" VALUES(4,'small','paper-20240326-COINUSD-s-7195eb1d0a','20240326-COINUSD-s-7195eb1d0a','COIN/USD','sell','8.488166','350.184820000','2.97242688','2024-03-27','signal','coins',0,'2026-11-21 13:55:29.667742');
INSERT INTO "fills" VALUES(5,'small','paper-20240327-BOLT-s-586590a272','20240327-BOLT-s-586590a272','BOLT','sell','41.2654','80.529715000','3.32309090','2024-03-28','signal','shares',0,'2026-11-21 13:55:29.781690');
INSERT INTO "fills" VALUES(6,'small','paper-20240328-COINUSD-b-06297d5cd6','20240328-COINUSD-b-06297d5cd6','COIN/USD','buy','7.982257','389.914860000','3.11240062','2024-03-29','signal','coins',0,'2026-11-21 13:55:29.917812');
INSERT INTO "fills" VALUES(7,'small','paper-20240330-COINUSD-s-d847d2a8cd','20240330-COINUSD-s-d847d2a8cd','COIN/USD','sell','7.982257','382.188810000','3.05072930','2024-03-31','signal','coins',0,'2026-11-21 13:55:30.194717');
INSERT INTO "fills" VALUES(8,'small','paper-20240328-BOLT-b-03cd3d4d06','20240328-BOLT-b-03cd3d4d06','BOLT','buy','38.2867','81.290625000','3.11234977','2024-04-01','signal','shares',0,'2026-11-21 13:55:30.312581');
INSERT INTO "fills" VALUES(9,'small','paper-20240401-ACME-s-28c7620d7d','20240401-ACME-s-28c7620d7d','ACME','sell','59.6540','53.513230000','3.19227822','2024-04-02','time_stop','shares',0,'2026-11-21 13:55:30.417776');
INSERT INTO "fills" VALUES(10,'small','paper-20240403-BOLT-s-8c86e1e3ec','20240403-BOLT-s-8c86e1e3ec','BOLT','sell','38.2867','81.489235000','3.11995389','2024-04-04','signal','shares',0,'2026-11-21 13:55:30.670662');
INSERT INTO "fills" VALUES(11,'small','paper-20240404-COINUSD-b-910dcb3fa2','20240404-COINUSD-b-910dcb3fa2','COIN/USD','buy','8.571681','361.690755000','3.10029777','2024-04-05','signal','coins',0,'2026-11-21 13:55:30.840482');
INSERT INTO "fills" VALUES(12,'small','paper-20240404-ACME-b-d27f1e88d5','20240404-ACME-b-d27f1e88d5','ACME','buy','58.1563','53.306640000','3.10011695','2024-04-05','signal','shares',0,'2026-11-21 13:55:30.840482');
INSERT INTO "fills" VALUES(13,'small','paper-20240404-BOLT-b-7a191df392','20240404-BOLT-b-7a191df392','BOLT','buy','38.3839','80.770365000','3.10028161','2024-04-05','signal','shares',0,'2026-11-21 13:55:30.840482');
INSERT INTO "fills" VALUES(14,'small','paper-20240406-COINUSD-s-5d27e1d58c','20240406-COINUSD-s-5d27e1d58c','COIN/USD','sell','8.571681','369.645085000','3.16847975','2024-04-07','signal','coins',0,'2026-11-21 13:55:31.086085');
INSERT INTO "fills" VALUES(15,'small','paper-20240405-BOLT-s-6a50c71d92','20240405-BOLT-s-6a50c71d92','BOLT','sell','38.3839','78.800580000','3.02467358','2024-04-08','stop_loss','shares',0,'2026-11-21 13:55:31.190079');
INSERT INTO "fills" VALUES(16,'small','paper-20240408-COINUSD-b-44b7114b4a','20240408-COINUSD-b-44b7114b4a','COIN/USD','buy','7.926187','387.863835000','3.07428129','2024-04-09','signal','coins',0,'2026-11-21 13:55:31.334249');
INSERT INTO "fills" VALUES(17,'small','paper-20240408-ACME-s-b752efab3d','20240408-ACME-s-b752efab3d','ACME','sell','58.1563','52.233870000','3.03772861','2024-04-09','stop_loss','shares',0,'2026-11-21 13:55:31.334249');
CREATE TABLE intents (
	client_id VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	job VARCHAR NOT NULL, 
	as_of DATE, 
	place INTEGER NOT NULL, 
	symbol VARCHAR NOT NULL, 
	side VARCHAR NOT NULL, 
	quantity VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	strategy VARCHAR NOT NULL, 
	whole BOOLEAN NOT NULL, 
	order_type VARCHAR NOT NULL, 
	time_in_force VARCHAR NOT NULL, 
	limit_price VARCHAR, 
	stop_price VARCHAR, 
	created DATETIME NOT NULL, 
	PRIMARY KEY (client_id), 
	FOREIGN KEY(account) REFERENCES accounts (account)
);
INSERT INTO "intents" VALUES('20240321-ACME-b-56e1bf9aac','small','daily','2024-03-21',0,'ACME','buy','59.6540','signal','shares',0,'market','day',NULL,NULL,'2026-11-21 13:55:28.945835');
INSERT INTO "intents" VALUES('20240321-BOLT-b-43b306db5d','small','daily','2024-03-21',1,'BOLT','buy','41.2654','signal','shares',0,'market','day',NULL,NULL,'2026-11-21 13:55:28.945835');
INSERT INTO "intents" VALUES('20240324-COINUSD-b-4e0db5dc3f','small','daily','2024-03-24',0,'COIN/USD','buy','8.488166','signal','coins',0,'market','gtc',NULL,NULL,'2026-11-21 13:55:29.346531');
INSERT INTO "intents" VALUES('20240326-COINUSD-s-7195eb1d0a','small','daily','2024-03-26',0,'COIN/USD','sell','8.488166','signal','coins',1,'market','gtc',NULL,NULL,'2026-11-21 13:55:29.578896');
INSERT INTO "intents" VALUES('20240327-BOLT-s-586590a272','small','daily','2024-03-27',0,'BOLT','sell','41.2654','signal','shares',1,'market','day',NULL,NULL,'2026-11-21 13:55:29.699373');
INSERT INTO "intents" VALUES('20240328-BOLT-b-03cd3d4d06','small','daily','2024-03-28',0,'BOLT','buy','38.2867','signal','shares',0,'market','day',NULL,NULL,'2026-11-21 13:55:29.816136');
INSERT INTO "intents" VALUES('20240328-COINUSD-b-06297d5cd6','small','daily','2024-03-28',1,'COIN/USD','buy','7.982257','signal','coins',0,'market','gtc',NULL,NULL,'2026-11-21 13:55:29.816136');
INSERT INTO "intents" VALUES('20240330-COINUSD-s-d847d2a8cd','small','daily','2024-03-30',0,'COIN/USD','sell','7.982257','signal','coins',1,'market','gtc',NULL,NULL,'2026-11-21 13:55:30.075636');
INSERT INTO "intents" VALUES('20240401-ACME-s-28c7620d7d','small','daily','2024-04-01',0,'ACME','sell','59.6540','time_stop','shares',1,'market','day',NULL,NULL,'2026-11-21 13:55:30.335584');
INSERT INTO "intents" VALUES('20240403-BOLT-s-8c86e1e3ec','small','daily','2024-04-03',0,'BOLT','sell','38.2867','signal','shares',1,'market','day',NULL,NULL,'2026-11-21 13:55:30.554897');
INSERT INTO "intents" VALUES('20240404-ACME-b-d27f1e88d5','small','daily','2024-04-04',0,'ACME','buy','58.1563','signal','shares',0,'market','day',NULL,NULL,'2026-11-21 13:55:30.708637');
INSERT INTO "intents" VALUES('20240404-BOLT-b-7a191df392','small','daily','2024-04-04',1,'BOLT','buy','38.3839','signal','shares',0,'market','day',NULL,NULL,'2026-11-21 13:55:30.708637');
INSERT INTO "intents" VALUES('20240404-COINUSD-b-910dcb3fa2','small','daily','2024-04-04',2,'COIN/USD','buy','8.571681','signal','coins',0,'market','gtc',NULL,NULL,'2026-11-21 13:55:30.708637');
INSERT INTO "intents" VALUES('20240405-BOLT-s-6a50c71d92','small','daily','2024-04-05',0,'BOLT','sell','38.3839','stop_loss','shares',1,'market','day',NULL,NULL,'2026-11-21 13:55:30.864374');
INSERT INTO "intents" VALUES('20240406-COINUSD-s-5d27e1d58c','small','daily','2024-04-06',0,'COIN/USD','sell','8.571681','signal','coins',1,'market','gtc',NULL,NULL,'2026-11-21 13:55:30.988617');
INSERT INTO "intents" VALUES('20240408-ACME-s-b752efab3d','small','daily','2024-04-08',0,'ACME','sell','58.1563','stop_loss','shares',1,'market','day',NULL,NULL,'2026-11-21 13:55:31.220203');
INSERT INTO "intents" VALUES('20240408-COINUSD-b-44b7114b4a','small','daily','2024-04-08',1,'COIN/USD','buy','7.926187','signal','coins',0,'market','gtc',NULL,NULL,'2026-11-21 13:55:31.220203');
INSERT INTO "intents" VALUES('20240410-COINUSD-s-6fad47b878','small','daily','2024-04-10',0,'COIN/USD','sell','7.926187','signal','coins',1,'market','gtc',NULL,NULL,'2026-11-21 13:55:31.471052');
CREATE TABLE orders (
	client_id VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	venue_id VARCHAR NOT NULL, 
	message VARCHAR NOT NULL, 
	ended DATE, 
	updated DATETIME NOT NULL, 
	PRIMARY KEY (client_id), 
	FOREIGN KEY(client_id) REFERENCES intents (client_id), 
	FOREIGN KEY(account) REFERENCES accounts (account)
);
INSERT INTO "orders" VALUES('20240321-ACME-b-56e1bf9aac','small','filled','paper-20240321-ACME-b-56e1bf9aac','','2024-03-22','2026-11-21 13:55:29.079578');
INSERT INTO "orders" VALUES('20240321-BOLT-b-43b306db5d','small','filled','paper-20240321-BOLT-b-43b306db5d','','2024-03-22','2026-11-21 13:55:29.080050');
INSERT INTO "orders" VALUES('20240324-COINUSD-b-4e0db5dc3f','small','filled','paper-20240324-COINUSD-b-4e0db5dc3f','','2024-03-25','2026-11-21 13:55:29.454940');
INSERT INTO "orders" VALUES('20240326-COINUSD-s-7195eb1d0a','small','filled','paper-20240326-COINUSD-s-7195eb1d0a','','2024-03-27','2026-11-21 13:55:29.669757');
INSERT INTO "orders" VALUES('20240327-BOLT-s-586590a272','small','filled','paper-20240327-BOLT-s-586590a272','','2024-03-28','2026-11-21 13:55:29.783080');
INSERT INTO "orders" VALUES('20240328-BOLT-b-03cd3d4d06','small','filled','paper-20240328-BOLT-b-03cd3d4d06','','2024-04-01','2026-11-21 13:55:30.313940');
INSERT INTO "orders" VALUES('20240328-COINUSD-b-06297d5cd6','small','filled','paper-20240328-COINUSD-b-06297d5cd6','','2024-03-29','2026-11-21 13:55:29.919414');
INSERT INTO "orders" VALUES('20240330-COINUSD-s-d847d2a8cd','small','filled','paper-20240330-COINUSD-s-d847d2a8cd','','2024-03-31','2026-11-21 13:55:30.196101');
INSERT INTO "orders" VALUES('20240401-ACME-s-28c7620d7d','small','filled','paper-20240401-ACME-s-28c7620d7d','','2024-04-02','2026-11-21 13:55:30.419082');
INSERT INTO "orders" VALUES('20240403-BOLT-s-8c86e1e3ec','small','filled','paper-20240403-BOLT-s-8c86e1e3ec','','2024-04-04','2026-11-21 13:55:30.672399');
INSERT INTO "orders" VALUES('20240404-ACME-b-d27f1e88d5','small','filled','paper-20240404-ACME-b-d27f1e88d5','','2024-04-05','2026-11-21 13:55:30.842093');
INSERT INTO "orders" VALUES('20240404-BOLT-b-7a191df392','small','filled','paper-20240404-BOLT-b-7a191df392','','2024-04-05','2026-11-21 13:55:30.842553');
INSERT INTO "orders" VALUES('20240404-COINUSD-b-910dcb3fa2','small','filled','paper-20240404-COINUSD-b-910dcb3fa2','','2024-04-05','2026-11-21 13:55:30.842643');
INSERT INTO "orders" VALUES('20240405-BOLT-s-6a50c71d92','small','filled','paper-20240405-BOLT-s-6a50c71d92','','2024-04-08','2026-11-21 13:55:31.194332');
INSERT INTO "orders" VALUES('20240406-COINUSD-s-5d27e1d58c','small','filled','paper-20240406-COINUSD-s-5d27e1d58c','','2024-04-07','2026-11-21 13:55:31.087515');
INSERT INTO "orders" VALUES('20240408-ACME-s-b752efab3d','small','filled','paper-20240408-ACME-s-b752efab3d','','2024-04-09','2026-11-21 13:55:31.335712');
INSERT INTO "orders" VALUES('20240408-COINUSD-b-44b7114b4a','small','filled','paper-20240408-COINUSD-b-44b7114b4a','','2024-04-09','2026-11-21 13:55:31.336098');
INSERT INTO "orders" VALUES('20240410-COINUSD-s-6fad47b878','small','accepted','paper-20240410-COINUSD-s-6fad47b878','',NULL,'2026-11-21 13:55:31.493540');
CREATE TABLE runs (
	run_id VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	job VARCHAR NOT NULL, 
	as_of DATE, 
	status VARCHAR NOT NULL, 
	pid INTEGER, 
	started DATETIME NOT NULL, 
	ended DATETIME, 
	error VARCHAR NOT NULL, 
	detail JSON NOT NULL, 
	PRIMARY KEY (run_id)
);
INSERT INTO "runs" VALUES('20240410T001000Z-daily-abcd','small','daily','2024-04-09','done',4711,'2026-11-21 13:55:31.564567','2026-11-21 13:55:31.584083','','{"folder": "outputs/x", "orders": 2}');
CREATE TABLE signals (
	account VARCHAR NOT NULL, 
	job VARCHAR NOT NULL, 
	as_of DATE NOT NULL, 
	strategy VARCHAR NOT NULL, 
	symbol VARCHAR NOT NULL, 
	strength FLOAT NOT NULL, 
	PRIMARY KEY (account, job, as_of, strategy, symbol), 
	FOREIGN KEY(account) REFERENCES accounts (account)
);
INSERT INTO "signals" VALUES('small','daily','2024-03-21','shares','ACME',0.6);
INSERT INTO "signals" VALUES('small','daily','2024-03-21','shares','BOLT',0.6);
INSERT INTO "signals" VALUES('small','daily','2024-03-22','coins','COIN/USD',-1.0);
INSERT INTO "signals" VALUES('small','daily','2024-03-24','coins','COIN/USD',1.0);
INSERT INTO "signals" VALUES('small','daily','2024-03-26','coins','COIN/USD',-1.0);
INSERT INTO "signals" VALUES('small','daily','2024-03-27','shares','BOLT',0.0);
INSERT INTO "signals" VALUES('small','daily','2024-03-28','shares','ACME',0.6);
INSERT INTO "signals" VALUES('small','daily','2024-03-28','shares','BOLT',0.6);
INSERT INTO "signals" VALUES('small','daily','2024-03-28','coins','COIN/USD',1.0);
INSERT INTO "signals" VALUES('small','daily','2024-03-30','coins','COIN/USD',-1.0);
INSERT INTO "signals" VALUES('small','daily','2024-04-02','coins','COIN/USD',-1.0);
INSERT INTO "signals" VALUES('small','daily','2024-04-03','shares','BOLT',0.0);
INSERT INTO "signals" VALUES('small','daily','2024-04-04','shares','ACME',0.6);
INSERT INTO "signals" VALUES('small','daily','2024-04-04','shares','BOLT',0.6);
INSERT INTO "signals" VALUES('small','daily','2024-04-04','coins','COIN/USD',1.0);
INSERT INTO "signals" VALUES('small','daily','2024-04-06','coins','COIN/USD',-1.0);
INSERT INTO "signals" VALUES('small','daily','2024-04-08','coins','COIN/USD',1.0);
INSERT INTO "signals" VALUES('small','daily','2024-04-10','shares','BOLT',0.0);
INSERT INTO "signals" VALUES('small','daily','2024-04-10','coins','COIN/USD',-1.0);
CREATE TABLE trials (
	number INTEGER NOT NULL, 
	account VARCHAR NOT NULL, 
	tried DATETIME NOT NULL, 
	strategy VARCHAR NOT NULL, 
	params JSON NOT NULL, 
	metrics JSON NOT NULL, 
	panel_sha256 VARCHAR NOT NULL, 
	PRIMARY KEY (number), 
	FOREIGN KEY(account) REFERENCES accounts (account)
);
INSERT INTO "trials" VALUES(1,'small','2026-11-21 13:55:31.608666','SmaCross','{"fast": 5}','{"sharpe": 0.5}','abc');
CREATE INDEX ix_intents_account ON intents (account);
CREATE INDEX ix_fills_account ON fills (account);
CREATE INDEX ix_orders_account ON orders (account);
COMMIT;
